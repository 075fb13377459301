import { useEffect, useRef } from 'react'
import { curve, pixel } from '../api/calls'
import type { PixelAnswer, Position } from '../api/types'
import { useResource } from '../api/useResource'
import { degrees, integer, title } from '../format'
import { strings } from '../strings'
import { Facts } from '../ui/Facts'
import { CloseIcon } from '../ui/icons'
import { ErrorNote } from '../ui/Notes'
import { SeasonCurve } from './SeasonCurve'

interface Props {
  id: string
  at: Position
  onClose: () => void
}

/** What the map knows about one pixel, and the season behind it. The first comes at once, the second is computed. */
export function PointCard({ id, at, onClose }: Props) {
  const { point } = strings
  const card = useRef<HTMLElement>(null)
  const key = `${id} ${at.join(' ')}`
  const answer = useResource(key, (signal) => pixel(id, at, signal))
  const season = useResource(key, (signal) => curve(id, at, signal))

  useEffect(() => void card.current?.scrollIntoView({ block: 'nearest' }), [key])

  return (
    <section ref={card} className="block point-card" aria-labelledby="point">
      <div className="point-top">
        <h2 id="point">{point.title}</h2>
        <span className="muted small">{point.where(degrees(at[0]), degrees(at[1]))}</span>
        <button type="button" className="button button-quiet" aria-label={point.remove} onClick={onClose}>
          <CloseIcon />
        </button>
      </div>
      <div role="status">
        {answer.error ? <ErrorNote error={answer.error} onRetry={answer.reload} /> : null}
        {!answer.data && !answer.error && <p className="hint">{point.asking}</p>}
        {answer.data && <Pixel answer={answer.data} />}
      </div>
      {season.error ? <ErrorNote error={season.error} onRetry={season.reload} away={point.curveAway} /> : null}
      {!season.data && !season.error && <p className="hint">{point.curveAsking}</p>}
      {season.data && <SeasonCurve curve={season.data} />}
    </section>
  )
}

function Pixel({ answer }: { answer: PixelAnswer }) {
  const { point } = strings
  if (!answer.class) return <p>{point.none}</p>
  const { confidence, margin, clear_days, applicable } = answer
  return (
    <>
      <p className="point-class">
        <i className="swatch swatch-large" style={{ background: answer.class.colour }} />
        {title(answer.class.name)}
      </p>
      <Facts
        rows={[
          ...(confidence === null ? [] : [[point.confidence, `${integer(confidence)} %`] as const]),
          ...(margin === null ? [] : [[point.margin, point.points(margin)] as const]),
          ...(clear_days === null ? [] : [[point.clearDays, integer(clear_days)] as const]),
          [point.applicable, applicable === null ? point.unknown : applicable ? point.yes : point.no],
        ]}
      />
    </>
  )
}
