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

/** What went wrong and what to do. `onRetry` shows a button; a service that names a time counts it down. */
export function ErrorNote({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  if (!error || error instanceof SignInCancelled) return null
  const { message, remedy, retryAfterS } = told(error)
  return (
    <Note tone="error">
      <p className="note-title">{message}</p>
      <p>{remedy}</p>
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
