import { job } from './calls'
import { send } from './client'
import type { Job } from './types'

const POLL_MS = 2_000
const SILENCE_MS = 40_000 // the service writes a comment every 15 s; a proxy that keeps them back ends here

export const isOver = ({ status }: Job) => !['accepted', 'running'].includes(status)

/**
 * States of a job until its last. The stream of events is tried first; between two streams the job is asked, so that
 * where no stream gets through this is polling.
 */
export async function* follow(id: string, signal: AbortSignal): AsyncGenerator<Job> {
  for (;;) {
    const now = await job(id, signal)
    yield now
    if (isOver(now)) return
    try {
      for await (const next of streamed(id, signal)) {
        yield next
        if (isOver(next)) return
      }
    } catch (error) {
      signal.throwIfAborted()
      console.warn('no stream of events, asking instead:', error)
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    signal.throwIfAborted()
  }
}

async function* streamed(id: string, signal: AbortSignal): AsyncGenerator<Job> {
  const silence = new AbortController()
  const answer = await send(`/jobs/${id}/events`, {
    headers: { Accept: 'text/event-stream' },
    signal: AbortSignal.any([signal, silence.signal]),
  })
  if (!answer.body) return
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  try {
    for (;;) {
      const timer = setTimeout(() => silence.abort(new Error('the stream is silent')), SILENCE_MS)
      const { done, value } = await reader.read().finally(() => clearTimeout(timer))
      if (done) return
      const events = (text + value.replaceAll('\r\n', '\n')).split('\n\n')
      text = events.pop() ?? ''
      for (const event of events) {
        const data = dataOf(event)
        if (data) yield JSON.parse(data) as Job
      }
    }
  } finally {
    void reader.cancel().catch(() => {}) // a reader that goes away closes the connection
  }
}

/** Data of one event; comments and other fields are left out. */
function dataOf(event: string): string {
  return event
    .split('\n')
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice(5).trim())
    .join('\n')
}
