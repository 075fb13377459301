import type { Baseline, ClassRow } from '../api/types'
import { title } from '../format'
import { strings } from '../strings'

interface Props {
  year: number
  baseline: Baseline | null
  rows: ClassRow[]
}

export function BaselineLegend({ year, baseline, rows }: Props) {
  return (
    <section className="block" aria-labelledby="land-cover">
      <h2 id="land-cover">
        {strings.baseline.title(year)} <span className="muted">{strings.baseline.product}</span>
      </h2>
      {baseline ? (
        <ul className="swatches">
          {rows.map(({ id, name, colour }) => (
            <li key={id}>
              <i className="swatch" style={{ background: colour }} />
              {title(name)}
            </li>
          ))}
        </ul>
      ) : (
        <p className="muted">{strings.baseline.missing(year)}</p>
      )}
    </section>
  )
}
