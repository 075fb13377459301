import type { Curve } from '../api/types'
import { date } from '../format'
import { strings } from '../strings'

const WIDTH = 340
const HEIGHT = 156
const LEFT = 28
const RIGHT = 8
const TOP = 10
const BOTTOM = 24
const CLOUD_Y = HEIGHT - BOTTOM + 6 // clouds stand below the axis: they say when, not how green
const month = new Intl.DateTimeFormat('en-US', { month: 'short', timeZone: 'UTC' }) // en-GB writes Sept

interface Point {
  day: string
  x: number
  ndvi: number
}

/** NDVI of a pixel over its season: the line goes through clear dates; cloudy ones are marked and not used. */
export function SeasonCurve({ curve }: { curve: Curve }) {
  const { point } = strings
  const days = curve.dates.map((day) => Date.parse(day))
  const [first, last] = [Math.min(...days), Math.max(...days)]
  const x = (day: number) => LEFT + ((WIDTH - LEFT - RIGHT) * (day - first)) / Math.max(1, last - first)
  const y = (ndvi: number) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(1, Math.max(0, ndvi)))
  const points = curve.dates.flatMap((day, n): Point[] => {
    const ndvi = curve.ndvi[n]
    return curve.clear[n] && typeof ndvi === 'number' ? [{ day, x: x(days[n]!), ndvi }] : []
  })
  const peak = points.reduce<Point | null>((best, one) => (best && best.ndvi >= one.ndvi ? best : one), null)
  if (!peak) return <p className="hint">{point.curveNone}</p>
  const cloudy = days.filter((_, n) => !curve.clear[n])
  return (
    <figure className="curve">
      <figcaption>
        <span>{point.curve}</span>
        <span className="curve-key">
          <i className="key-clear" /> {point.clear} <i className="key-cloudy" /> {point.cloudy}
        </span>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label={point.curveSummary(points.length, days.length, peak.ndvi.toFixed(2), date(peak.day))}
      >
        {[0, 0.25, 0.5, 0.75, 1].map((ndvi) => (
          <g key={ndvi} className="curve-grid">
            <path d={`M${LEFT} ${y(ndvi)}H${WIDTH - RIGHT}`} />
            {ndvi % 0.5 === 0 && (
              <text x={LEFT - 6} y={y(ndvi) + 3.5} textAnchor="end">
                {ndvi}
              </text>
            )}
          </g>
        ))}
        <text className="curve-unit" x={LEFT + 4} y={TOP + 9}>
          {point.ndvi}
        </text>
        {firstsOfMonths(first, last).map((day) => (
          <text key={day} className="curve-month" x={x(day) + 2} y={HEIGHT - 3}>
            {month.format(day)}
          </text>
        ))}
        {cloudy.map((day) => (
          <path key={day} className="curve-cloudy" d={`M${x(day)} ${CLOUD_Y - 3}v6`} />
        ))}
        <polyline className="curve-line" points={points.map((one) => `${one.x},${y(one.ndvi)}`).join(' ')} />
        {points.map((one) => (
          <circle key={one.day} className="curve-clear" cx={one.x} cy={y(one.ndvi)} r="2.4">
            <title>{`${date(one.day)}: ${one.ndvi.toFixed(2)}`}</title>
          </circle>
        ))}
      </svg>
    </figure>
  )
}

function firstsOfMonths(first: number, last: number): number[] {
  const begin = new Date(first)
  const months = Array.from({ length: 14 }, (_, n) => Date.UTC(begin.getUTCFullYear(), begin.getUTCMonth() + n, 1))
  return months.filter((day) => day >= first && day <= last - 10 * 86_400_000) // the last needs room for its name
}
