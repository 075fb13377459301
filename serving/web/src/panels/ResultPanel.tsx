import { type ReactNode, useState } from 'react'
import { download } from '../api/calls'
import type { ClassRow, Mode, RampStop, Results, Summary, Survey } from '../api/types'
import { amount, decimal, hectares, integer, title } from '../format'
import { strings } from '../strings'
import { Facts } from '../ui/Facts'
import { DownloadIcon } from '../ui/icons'
import { ErrorNote, Note } from '../ui/Notes'
import { Segmented } from '../ui/Segmented'
import type { Look } from './MapPage'

interface Props {
  results: Results
  /** Beginning of the names of downloaded files. */
  name: string
  ramp: RampStop[]
  look: Look
  onLook: (change: Partial<Look>) => void
}

export function ResultPanel({ results, name, ramp, look, onLook }: Props) {
  const { result } = strings
  return (
    <>
      <section className="block controls" aria-label={result.show}>
        <Segmented<Mode>
          label={result.show}
          value={look.mode}
          options={[['class', result.class], ['confidence', result.confidence]]} // prettier-ignore
          onChange={(mode) => onLook({ mode })}
        />
        <label className="slider">
          <span>{result.opacity}</span>
          <input
            type="range"
            min={0}
            max={100}
            value={Math.round(look.opacity * 100)}
            onChange={(event) => onLook({ opacity: Number(event.target.value) / 100 })}
          />
          <output>{Math.round(look.opacity * 100)} %</output>
        </label>
        <label className="check">
          <input
            type="checkbox"
            role="switch"
            checked={look.swipe !== null}
            onChange={(event) => onLook({ swipe: event.target.checked ? 0.5 : null })}
          />
          <span>{result.swipe}</span>
        </label>
      </section>
      {!look.asked && <p className="hint">{strings.point.hint}</p>}
      {look.mode === 'confidence' && <Ramp stops={ramp} />}
      <LandUse legend={results.legend} summary={results.summary} />
      <Quality summary={results.summary} />
      <Downloads results={results} name={name} />
    </>
  )
}

function Ramp({ stops }: { stops: RampStop[] }) {
  const { result } = strings
  const colours = stops.map(({ value, colour }) => `${colour} ${value}%`).join(', ')
  return (
    <section className="block" aria-label={result.confidence}>
      <div className="ramp" style={{ background: `linear-gradient(to right, ${colours})` }} />
      <div className="ramp-ends">
        <span>0 % {result.unsure}</span>
        <span>50 %</span>
        <span>{result.sure} 100 %</span>
      </div>
      <p className="hint">{result.confidenceLegend}</p>
    </section>
  )
}

interface Row {
  row: ClassRow
  ha: number
  interval: { low: number; high: number } | null
}

/** The legend, which is also the answer: hectares of each class, with intervals where somebody visited the ground. */
function LandUse({ legend, summary }: { legend: ClassRow[]; summary: Summary }) {
  const { result } = strings
  const survey = summary.survey && 'classes' in summary.survey ? summary.survey : null
  const refused = summary.survey && 'refused' in summary.survey ? summary.survey.refused : null
  const estimates = new Map(survey?.classes.map((one) => [one.class, one]))
  const rows = legend.map((row): Row => {
    const estimate = estimates.get(row.name)
    return { row, ha: estimate?.ha ?? summary.hectares_counted[row.name] ?? 0, interval: estimate ?? null }
  })
  const most = Math.max(1, ...rows.map(({ ha, interval }) => interval?.high ?? ha))
  return (
    <section className="block" aria-labelledby="land-use">
      <h2 id="land-use">{result.legend}</h2>
      <table className="land-use">
        <thead>
          <tr>
            <th scope="col">{result.name}</th>
            <th scope="col">{result.hectares}</th>
            {survey && <th scope="col">{result.interval}</th>}
          </tr>
        </thead>
        <tbody>
          {rows
            .sort((a, b) => b.ha - a.ha)
            .map(({ row, ha, interval }) => (
              <tr key={row.id}>
                <th scope="row">
                  <i className="swatch" style={{ background: row.colour }} />
                  {title(row.name)}
                  <Bar part={ha / most} interval={interval && [interval.low / most, interval.high / most]} row={row} />
                </th>
                <td>{amount(ha)}</td>
                {survey && <td className="muted">{interval && `${amount(interval.low)} – ${amount(interval.high)}`}</td>}
              </tr>
            ))}
        </tbody>
      </table>
      <p className="hint">{survey ? result.estimated : result.counted}</p>
      {survey && <Accuracy survey={survey} />}
      {refused && <Refusal reason={refused} />}
    </section>
  )
}

function Bar({ part, interval, row }: { part: number; interval: [number, number] | null; row: ClassRow }) {
  return (
    <svg className="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
      <rect width={100 * part} height="6" fill={row.colour} />
      {interval && <path d={`M${100 * interval[0]} 3H${100 * interval[1]}`} className="bar-interval" />}
    </svg>
  )
}

function Accuracy({ survey }: { survey: Survey }) {
  const percent = (value: number) => `${Math.round(100 * value)} %`
  const { value, low, high } = survey.overall
  return <p className="hint">{strings.result.accuracy(percent(value), percent(low), percent(high), survey.units)}</p>
}

/** Why there are no intervals: its first words at once, the rest on demand. */
function Refusal({ reason }: { reason: string }) {
  const [head, ...rest] = reason.split(/(?<=[:.])\s+/)
  const full: ReactNode = rest.join(' ')
  return (
    <Note>
      <p>
        <strong>{strings.result.refused}</strong> {head?.replace(/:$/, '.')}
      </p>
      {full && (
        <details>
          <summary>{strings.result.reason}</summary>
          <p>{full}</p>
        </details>
      )}
    </Note>
  )
}

function Quality({ summary }: { summary: Summary }) {
  const { result } = strings
  const mapped = Object.values(summary.hectares_counted).reduce((sum, ha) => sum + ha, 0)
  const like = summary.hectares_like_training
  return (
    <section className="block" aria-labelledby="quality">
      <h2 id="quality">{result.facts}</h2>
      <Facts
        rows={[
          ...(summary.mean_confidence_pct === null
            ? []
            : [[result.meanConfidence, `${decimal(summary.mean_confidence_pct)} %`] as const]),
          ...(summary.median_clear_days === null
            ? []
            : [[result.clearDays, integer(summary.median_clear_days)] as const]),
          [result.withoutClass, hectares(summary.hectares_without_class)],
          ...(like === null || !mapped ? [] : [[result.likeTraining, `${decimal((100 * like) / mapped)} %`] as const]),
        ]}
      />
      {summary.warnings.map((warning) => (
        <Note key={warning} tone="warn">
          {warning}
        </Note>
      ))}
    </section>
  )
}

const FILES = [
  ['map', '.tif'],
  ['statistics', '.stats.json'],
  ['item', '.json'],
  ['style', '.qml'],
] as const

function Downloads({ results, name }: { results: Results; name: string }) {
  const { result } = strings
  const [saving, setSaving] = useState<string | null>(null)
  const [error, setError] = useState<unknown>(null)

  async function save(file: (typeof FILES)[number][0], suffix: string) {
    setSaving(file)
    setError(null)
    await download(results[file]!.href, name + suffix).catch(setError)
    setSaving(null)
  }

  return (
    <section className="block" aria-labelledby="downloads">
      <h2 id="downloads">{result.downloads}</h2>
      <div className="downloads">
        {FILES.filter(([file]) => results[file]).map(([file, suffix]) => (
          <button key={file} type="button" className="button" disabled={!!saving} onClick={() => save(file, suffix)}>
            <DownloadIcon />
            {saving === file ? result.saving : result.files[file]}
          </button>
        ))}
      </div>
      <ErrorNote error={error} />
    </section>
  )
}
