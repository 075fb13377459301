import { type ReactNode, useEffect, useState } from 'react'
import { told } from '../api/client'
import { SignInCancelled } from '../api/session'
import { strings } from '../strings'

type Tone = 'info' | 'warn' | 'error'

export function Note({ tone = 'info', children }: { tone?: Tone; children: ReactNode }) {
  return (
    <div className={`note note-${tone}`} role={tone === 'error' ? 'alert' : undefined}>
      {children}
    </div>
  )
}

interface ErrorProps {
  error: unknown
  /** Shows a button; where the service names a time, it is counted down. */
  onRetry?: () => void
  /** What to say instead where a part of the service is away for a while, and the rest goes on. */
  away?: string
}

/** What went wrong and what to do. */
export function ErrorNote({ error, onRetry, away }: ErrorProps) {
  if (!error || error instanceof SignInCancelled) return null
  const { status, message, detail, remedy, retryAfterS } = told(error)
  const passing = away !== undefined && status === 503
  return (
    <Note tone={passing ? 'info' : 'error'}>
      <p className={passing ? undefined : 'note-title'}>{passing ? away : message}</p>
      {!passing && detail && <p>{detail}</p>}
      {!passing && <p>{remedy}</p>}
      {retryAfterS !== null && onRetry && <Countdown seconds={retryAfterS} />}
      {onRetry && (
        <button type="button" className="button button-small" onClick={onRetry}>
          {strings.again}
        </button>
      )}
    </Note>
  )
}

function Countdown({ seconds }: { seconds: number }) {
  const [left, setLeft] = useState(Math.ceil(seconds))
  useEffect(() => {
    const timer = setInterval(() => setLeft((now) => Math.max(0, now - 1)), 1000)
    return () => clearInterval(timer)
  }, [])
  return <p>{strings.errors.retryIn(left)}</p>
}
