import { strings } from '../strings'
import { restored } from './connection'
import { renewed, session } from './session'
import type { Problem } from './types'

/** What the service refused, and what to do about it. */
export class ApiError extends Error {
  readonly status: number
  /** What was found and what was expected; empty where the message says it all. */
  readonly detail: string
  readonly remedy: string
  readonly retryAfterS: number | null

  constructor(status: number, { title, detail = '', remedy }: Problem, retryAfterS: number | null) {
    super(title || strings.errors.unknown(status))
    this.status = status
    this.remedy = remedy || strings.errors.remedy(status)
    this.detail = detail.endsWith(this.remedy) ? detail.slice(0, -this.remedy.length).trim() : detail
    this.retryAfterS = retryAfterS
  }

  static async of(answer: Response): Promise<ApiError> {
    const problem: Problem = await answer.json().catch(() => ({}))
    const after = Number(answer.headers.get('Retry-After'))
    return new ApiError(answer.status, problem, after > 0 ? after : null)
  }
}

export interface Options {
  /** Needs no token: a password is its own credential, and what is open to all is cached for all. */
  open?: boolean
  method?: 'GET' | 'POST' | 'DELETE'
  json?: unknown
  form?: Record<string, string>
  headers?: Record<string, string>
  signal?: AbortSignal | undefined
}

const UNREACHED = [502, 504] // a proxy that reaches nobody
const TRIES = 3 // requests that fail although the service says that it is well

/**
 * The one way to the service. It waits while the service is away and while somebody signs in again, and then asks
 * once more: callers see an answer or an ApiError. Every request is safe to repeat (execution has its key).
 */
export async function send(path: string, options: Options = {}): Promise<Response> {
  for (let tries = 1; ; tries++) {
    const token = options.open ? undefined : session.get()?.token
    let answer: Response
    try {
      answer = await fetch(path, request(options, token))
    } catch (error) {
      if (options.signal?.aborted || tries >= TRIES) throw error
      await restored()
      continue
    }
    if (UNREACHED.includes(answer.status)) {
      await restored()
    } else if (answer.status === 401 && !options.open) {
      await renewed(token)
      tries = 0
    } else if (answer.ok) {
      return answer
    } else {
      throw await ApiError.of(answer)
    }
    options.signal?.throwIfAborted()
  }
}

function request({ method = 'GET', json, form, headers, signal }: Options, token: string | undefined): RequestInit {
  return {
    method,
    headers: {
      ...(json === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...(token ? { Authorization: `Bearer ${token}` } : {}),
      ...headers,
    },
    body: form ? new URLSearchParams(form) : json === undefined ? null : JSON.stringify(json),
    signal: signal ?? null,
  }
}

export async function ask<T>(path: string, options: Options = {}): Promise<T> {
  return (await send(path, options)).json() as Promise<T>
}

/** Path of a link, which may be given with or without the service's address. */
export function pathOf(href: string): string {
  const url = new URL(href, location.origin)
  return url.origin === location.origin ? url.pathname + url.search : href
}

/** What to say of anything that was thrown. */
export function told(error: unknown): Pick<ApiError, 'status' | 'message' | 'detail' | 'remedy' | 'retryAfterS'> {
  if (error instanceof ApiError) return error
  const { broken, brokenRemedy } = strings.errors
  return { status: 0, message: broken, detail: '', remedy: brokenRemedy, retryAfterS: null }
}
