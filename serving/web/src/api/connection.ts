import { createStore } from '../store'

/** Whether the service can be reached. `restorations` counts how often it came back. */
export interface Connection {
  up: boolean
  restorations: number
}

export const connection = createStore<Connection>({ up: true, restorations: 0 })

const FIRST_PAUSE_MS = 400
const LONGEST_PAUSE_MS = 5_000
const PATIENCE_MS = 4_000
const WATCH_MS = 15_000

let returning: Promise<void> | null = null

/** Resolves as soon as the service answers; while it does not, `connection` says so. */
export function restored(): Promise<void> {
  returning ??= untilHealthy().finally(() => {
    returning = null
  })
  return returning
}

async function untilHealthy(): Promise<void> {
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 1.6, LONGEST_PAUSE_MS)) {
    await new Promise((resolve) => setTimeout(resolve, pause))
    const { up, restorations } = connection.get()
    if (await healthy()) {
      if (!up) connection.set({ up: true, restorations: restorations + 1 })
      return
    }
    if (up) connection.set({ up: false, restorations })
  }
}

async function healthy(): Promise<boolean> {
  try {
    return (await fetch('/healthz', { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS) })).ok
  } catch {
    return false
  }
}

/** Looks from time to time, so that a reader who clicks nothing is told as well. */
export function watch(): () => void {
  const timer = setInterval(async () => {
    if (!document.hidden && !returning && !(await healthy())) void restored()
  }, WATCH_MS)
  return () => clearInterval(timer)
}
