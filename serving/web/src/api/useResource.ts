import { useCallback, useEffect, useState } from 'react'
import { SignInCancelled } from './session'
import { told } from './client'

export interface Resource<T> {
  data: T | null
  error: unknown
  reload: () => void
}

/**
 * What `load` answers, asked again when `key` changes; null as key asks nothing. An answer of another key is never
 * shown. A service that names a time to come back is asked again then.
 */
export function useResource<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>): Resource<T> {
  const [answer, setAnswer] = useState<{ key: string; data: T | null; error: unknown } | null>(null)
  const [turn, setTurn] = useState(0)
  const reload = useCallback(() => setTurn((n) => n + 1), [])

  useEffect(() => {
    if (key === null) return
    const gone = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    load(gone.signal).then(
      (data) => gone.signal.aborted || setAnswer({ key, data, error: null }),
      (error: unknown) => {
        if (gone.signal.aborted || error instanceof SignInCancelled) return
        setAnswer({ key, data: null, error })
        const { retryAfterS } = told(error)
        if (retryAfterS) timer = setTimeout(reload, retryAfterS * 1000)
      },
    )
    return () => {
      gone.abort()
      clearTimeout(timer)
    }
    // `load` is made anew on every render; `key` names all that it depends on.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [key, turn])

  const current = answer && answer.key === key ? answer : null
  return { data: current?.data ?? null, error: current?.error ?? null, reload }
}
