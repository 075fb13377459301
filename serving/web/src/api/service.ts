import { baselines, legend, limits } from './calls'
import type { Baseline, Legend, Limits } from './types'

/** What the service is able to do: asked once, before anything is drawn. */
export interface ServiceFacts {
  limits: Limits
  legend: Legend
  baselines: Baseline[]
}

let facts: Promise<ServiceFacts> | null = null

export function serviceFacts(): Promise<ServiceFacts> {
  facts ??= Promise.all([limits(undefined), legend(undefined), baselines(undefined)]).then(
    ([limits, legend, baselines]) => ({ limits, legend, baselines }),
    (error: unknown) => {
      facts = null // the next one asks again
      throw error
    },
  )
  return facts
}
