import { useEffect } from 'react'
import { createStore, useStore } from '../store'
import { me } from './calls'
import { session } from './session'
import type { Me } from './types'
import { useResource } from './useResource'

/** Counts up whenever a job was made or deleted: whoever shows jobs or their number looks again. */
export const jobsChanged = createStore(0)
export const noteJobsChanged = () => jobsChanged.set(jobsChanged.get() + 1)

/** Who is signed in, and how many maps are left; null while nobody is. */
export function useMe(): Me | null {
  const current = useStore(session)
  const turn = useStore(jobsChanged)
  const { data, reload } = useResource(current && current.token, me)
  useEffect(() => {
    if (turn > 0) reload()
  }, [turn, reload])
  return data
}
