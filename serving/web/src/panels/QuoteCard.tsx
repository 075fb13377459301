import { useEffect, useState } from 'react'
import { quote } from '../api/calls'
import type { Inputs } from '../api/types'
import { useResource } from '../api/useResource'
import { duration, integer } from '../format'
import { strings } from '../strings'
import { Facts } from '../ui/Facts'
import { ErrorNote, Note } from '../ui/Notes'

const PAUSE_MS = 400 // of typing
const FEW_CLEAR_DAYS = 6 // twice what a class needs at least

/** What a map will cost and how much of the ground will be seen, before anybody asks for it. */
export function QuoteCard({ inputs }: { inputs: Inputs }) {
  const { plan } = strings
  const key = useSettled(JSON.stringify(inputs))
  const { data, error, reload } = useResource(key, (signal) => quote(JSON.parse(key) as Inputs, signal))
  if (error) return <ErrorNote error={error} onRetry={reload} away={plan.quoteAway} />
  if (!data) return <p className="hint">{plan.quoteWaiting}</p>
  const { seconds, seconds_until_start, ahead, expected_clear_days, scenes, gigabytes } = data
  return (
    <>
      <Facts
        rows={[
          [plan.takes, plan.between(duration(seconds.low), duration(seconds.high))],
          ...(seconds_until_start === null
            ? []
            : [[plan.starts, seconds_until_start < 5 ? plan.now : plan.startsIn(duration(seconds_until_start))] as const]),
          ...(expected_clear_days === null ? [] : [[plan.clearDays, integer(expected_clear_days)] as const]),
          [plan.scenes, plan.scenesOf(scenes, gigabytes)],
        ]}
      />
      {ahead > 0 && <p className="hint">{plan.ahead(ahead)}</p>}
      {expected_clear_days !== null && expected_clear_days < FEW_CLEAR_DAYS && (
        <Note tone="warn">{plan.fewClearDays}</Note>
      )}
    </>
  )
}

/** A value that has not changed for a moment. */
function useSettled(value: string): string {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), PAUSE_MS)
    return () => clearTimeout(timer)
  }, [value])
  return settled
}
