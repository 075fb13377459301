import { useState } from 'react'
import { useMe } from '../api/account'
import { inputsOf, submit } from '../api/calls'
import { session, signInWanted } from '../api/session'
import type { Limits, Position } from '../api/types'
import { noteJobsChanged } from '../api/account'
import { type Draft, edit, editCircle } from '../draft'
import { fulfilled, keyOf } from '../intent'
import type { Area, Parsed } from '../map/area'
import type { Shape } from '../map/draw'
import { hectares, season } from '../format'
import { go } from '../route'
import { useStore } from '../store'
import { strings } from '../strings'
import { CircleIcon, FrameIcon, PolygonIcon } from '../ui/icons'
import { ErrorNote, Note } from '../ui/Notes'
import { Segmented } from '../ui/Segmented'
import { QuoteCard } from './QuoteCard'

export interface InView {
  centre: Position
  radius_m: number
}
interface Props {
  limits: Limits
  year: number | null
  entered: Draft
  parsed: Parsed
  drawing: Shape | null
  onDraw: (shape: Shape) => void
  inView: () => InView | null
}

export function PlanPanel({ limits, year, entered, parsed, drawing, onDraw, inView }: Props) {
  const { plan } = strings
  const mappable = year !== null && limits.seasons.includes(year)
  return (
    <>
      <h1>{plan.title}</h1>
      <p className="lead">{plan.lead}</p>
      <SeasonPicker limits={limits} year={year} />
      {year !== null && !mappable && (
        <Note tone="warn">
          <p>{plan.notMapped(year, limits.seasons)}</p>
          {limits.seasons.slice(-1).map((other) => (
            <button key={other} type="button" className="button button-small" onClick={() => edit({ year: other })}>
              {plan.use(other)}
            </button>
          ))}
        </Note>
      )}
      <AreaForm limits={limits} entered={entered} parsed={parsed} drawing={drawing} onDraw={onDraw} inView={inView} />
      {mappable && <Submission area={parsed.area} year={year} />}
    </>
  )
}

function SeasonPicker({ limits, year }: { limits: Limits; year: number | null }) {
  const { plan } = strings
  const years = [...new Set([...limits.baselines, ...limits.seasons])].sort()
  return (
    <fieldset className="block">
      <legend>{plan.season}</legend>
      <div className="chips">
        {years.map((one) => {
          const mappable = limits.seasons.includes(one)
          return (
            <label key={one} className="chip" data-mappable={mappable || undefined}>
              <input type="radio" name="season" checked={one === year} onChange={() => edit({ year: one })} />
              <span>
                {season(one)}
                {mappable && <span className="visually-hidden">, {plan.canMap}</span>}
              </span>
            </label>
          )
        })}
      </div>
      <p className="hint">{plan.seasonHint}</p>
    </fieldset>
  )
}

type AreaProps = Pick<Props, 'limits' | 'entered' | 'parsed' | 'drawing' | 'onDraw' | 'inView'>

function AreaForm({ limits, entered, parsed, drawing, onDraw, inView }: AreaProps) {
  const { plan } = strings
  const shape = entered.shape

  function takeView() {
    const view = inView()
    if (view) editCircle(view.centre, Math.min(limits.radius_m.max, Math.max(limits.radius_m.min, view.radius_m)))
  }

  return (
    <fieldset className="block">
      <legend>{plan.area}</legend>
      <Segmented
        label={plan.shape}
        value={shape}
        options={[['circle', plan.circle], ['polygon', plan.polygon]]} // prettier-ignore
        onChange={(next) => edit({ shape: next })}
      />
      {shape === 'circle' ? (
        <div className="fields">
          {(['lon', 'lat', 'radius'] as const).map((name) => (
            <label key={name} className="field">
              <span>{plan[name]}</span>
              <input
                inputMode="decimal"
                autoComplete="off"
                value={entered[name]}
                aria-invalid={parsed.field === name}
                aria-describedby="area-says"
                onChange={(event) => edit({ [name]: event.target.value })}
              />
            </label>
          ))}
        </div>
      ) : (
        <label className="field">
          <span>{plan.geojson}</span>
          <textarea
            rows={4}
            spellCheck={false}
            placeholder='{"type": "Polygon", "coordinates": …}'
            value={entered.polygon}
            aria-invalid={parsed.field === 'polygon'}
            aria-describedby="area-says"
            onChange={(event) => edit({ polygon: event.target.value })}
          />
        </label>
      )}
      <div className="row">
        <button type="button" className="button" aria-pressed={drawing === shape} onClick={() => onDraw(shape)}>
          {shape === 'circle' ? <CircleIcon /> : <PolygonIcon />}
          {parsed.area ? plan.redraw : plan.draw}
        </button>
        {shape === 'circle' && (
          <button type="button" className="button" onClick={takeView}>
            <FrameIcon />
            {plan.here}
          </button>
        )}
      </div>
      <div id="area-says" className="area-says" role="status">
        {parsed.problem ? (
          <Note tone="warn">{parsed.problem}</Note>
        ) : parsed.area ? (
          <p className="area-size">
            {plan.size} <strong>{hectares(parsed.area.hectares)}</strong>
          </p>
        ) : (
          <p className="hint">{shape === 'circle' ? plan.nothing : plan.geojsonHint}</p>
        )}
      </div>
    </fieldset>
  )
}

function Submission({ area, year }: { area: Area | null; year: number }) {
  const { plan, account } = strings
  const who = useStore(session)
  const me = useMe()
  const [sending, setSending] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const inputs = area && inputsOf(area.aoi, year)

  async function make() {
    if (!inputs) return
    setSending(true)
    setError(null)
    try {
      if (!session.get()) await signInWanted()
      const job = await submit(inputs, keyOf(inputs))
      fulfilled()
      noteJobsChanged()
      go(`map/${job.jobID}`)
    } catch (failure) {
      setError(failure)
      setSending(false)
    }
  }

  return (
    <>
      {inputs && (
        <section className="block" aria-labelledby="quote">
          <h2 id="quote">{plan.quote}</h2>
          {who ? <QuoteCard inputs={inputs} /> : <p className="hint">{plan.quoteSignIn}</p>}
        </section>
      )}
      <div className="panel-foot">
        <ErrorNote error={error} />
        <button type="button" className="button button-primary button-wide" disabled={!inputs || sending} onClick={make}>
          {sending ? plan.submitting : who ? plan.submit : plan.signInAndSubmit}
        </button>
        {me && me.jobs_allowed !== null && (
          <p className="hint center">{account.used(me.jobs_used, me.jobs_allowed)}</p>
        )}
      </div>
    </>
  )
}
