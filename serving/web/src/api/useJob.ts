import { useEffect, useState } from 'react'
import { noteJobsChanged } from './account'
import { follow, isOver } from './follow'
import type { Job } from './types'

export interface Followed {
  job: Job | null
  error: unknown
}
const NOTHING: Followed = { job: null, error: null }

/** A job as it changes, until its last state; `turn` changes to begin anew. */
export function useJob(id: string | null, turn: unknown): Followed {
  const [followed, setFollowed] = useState<Followed & { id: string | null }>({ id, ...NOTHING })

  useEffect(() => {
    if (id === null) return
    const gone = new AbortController()
    const run = async () => {
      for await (const job of follow(id, gone.signal)) {
        if (gone.signal.aborted) return
        setFollowed({ id, job, error: null })
        if (isOver(job)) noteJobsChanged()
      }
    }
    run().catch((error: unknown) => {
      if (!gone.signal.aborted) setFollowed({ id, job: null, error })
    })
    return () => gone.abort()
  }, [id, turn])

  return followed.id === id ? followed : NOTHING
}
