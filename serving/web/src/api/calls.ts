import { ask, pathOf, send } from './client'
import { asking, session } from './session'
import type {
  Aoi,
  Baseline,
  Curve,
  Inputs,
  Job,
  JobPage,
  Legend,
  Limits,
  Me,
  PixelAnswer,
  Position,
  Quote,
  Results,
  System,
  Token,
} from './types'

type Signal = AbortSignal | undefined
const PROCESS = '/processes/crop-map'

export const limits = (signal: Signal) => ask<Limits>('/limits', { open: true, signal })
export const legend = (signal: Signal) => ask<Legend>('/legend', { open: true, signal })
export const baselines = async (signal: Signal) =>
  (await ask<{ baselines: Baseline[] }>('/baselines', { open: true, signal })).baselines
export const boundary = (href: string) => ask<object>(pathOf(href), { open: true })
export const system = (signal: Signal) => ask<System>('/system', { open: true, signal })
export const me = (signal: Signal) => ask<Me>('/auth/me', { signal })

export async function signIn(name: string, password: string): Promise<void> {
  const form = { grant_type: 'password', username: name, password }
  const token = await ask<Token>('/auth/token', { method: 'POST', form, open: true })
  session.set({ token: token.access_token, name, role: token.role })
  asking.set('no')
}

export const inputsOf = (aoi: Aoi, year: number): Inputs => ({ aoi, year, model: 'champion' })

export const quote = ({ aoi, year }: Inputs, signal: Signal) =>
  ask<Quote>(`${PROCESS}/quote`, { method: 'POST', json: { inputs: { aoi, year } }, signal })

export const submit = (inputs: Inputs, key: string) =>
  ask<Job>(`${PROCESS}/execution`, {
    method: 'POST',
    json: { inputs },
    headers: { 'Idempotency-Key': key, Prefer: 'respond-async' },
  })

/** A key for one intent. Not crypto.randomUUID, which plain http does not have. */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

export const job = (id: string, signal: Signal) => ask<Job>(`/jobs/${id}`, { signal })
export const results = (id: string, signal: Signal) => ask<Results>(`/jobs/${id}/results`, { signal })
export const dismiss = (id: string) => send(`/jobs/${id}`, { method: 'DELETE' })

export async function jobs(next: string | null, signal: Signal): Promise<{ jobs: Job[]; next: string | null }> {
  const page = await ask<JobPage>(next ?? '/jobs?limit=20', { signal })
  const link = page.links.find(({ rel }) => rel === 'next')
  return { jobs: page.jobs, next: link ? pathOf(link.href) : null }
}

const place = ([lon, lat]: Position) => `lon=${lon}&lat=${lat}`
export const pixel = (id: string, at: Position, signal: Signal) =>
  ask<PixelAnswer>(`/jobs/${id}/point?${place(at)}`, { signal })
export const curve = (id: string, at: Position, signal: Signal) =>
  ask<Curve>(`/jobs/${id}/curve?${place(at)}`, { signal })

/** Saves a file that only its owner may fetch: a plain link could not send the token. */
export async function download(href: string, name: string): Promise<void> {
  const url = URL.createObjectURL(await (await send(pathOf(href))).blob())
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 60_000) // the browser reads it after the click
}
