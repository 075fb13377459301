import { useEffect, useState } from 'react'
import { type ServiceFacts, serviceFacts } from '../api/service'
import type { Mode, Position } from '../api/types'
import { useJob } from '../api/useJob'
import { useResource } from '../api/useResource'
import { results as fetchResults } from '../api/calls'
import { session } from '../api/session'
import { draft, edit, editCircle, editPolygon } from '../draft'
import { bboxOf, parse } from '../map/area'
import type { CropMap } from '../map/CropMap'
import type { Drawn, Shape } from '../map/draw'
import { MapView } from '../map/MapView'
import { Swipe } from '../map/Swipe'
import { useStore } from '../store'
import { hectares } from '../format'
import { strings } from '../strings'
import { ErrorNote } from '../ui/Notes'
import { BaselineLegend } from './BaselineLegend'
import { JobPanel } from './JobPanel'
import { PlanPanel } from './PlanPanel'
import { Sheet, type Snap } from './Sheet'

export function MapPage({ jobId }: { jobId: string | null }) {
  const service = useResource('service', serviceFacts)
  if (service.data) return <Workspace service={service.data} jobId={jobId} />
  return (
    <div className="page page-narrow">
      {service.error ? <ErrorNote error={service.error} onRetry={service.reload} /> : <p>{strings.loading}</p>}
    </div>
  )
}

/** How a job's map is looked at. */
export interface Look {
  jobId: string | null
  /** Pixel that was asked about. */
  asked: Position | null
  mode: Mode
  opacity: number
  /** Part of the map's width left of the divider, 0-1; null: no divider. */
  swipe: number | null
}
const FIRST_LOOK = { asked: null, mode: 'class', opacity: 1, swipe: null } as const

/** Map and panel: a plan where there is no job, else what has become of the job. */
function Workspace({ service, jobId }: { service: ServiceFacts; jobId: string | null }) {
  const { limits, legend, baselines } = service
  const who = useStore(session)
  const entered = useStore(draft)
  const [map, setMap] = useState<CropMap | null>(null)
  const [drawing, setDrawing] = useState<Shape | null>(null)
  const [growing, setGrowing] = useState(0)
  const [snap, setSnap] = useState<Snap>('half')
  const [covered, setCovered] = useState<number | null>(null)
  const [look, setLook] = useState<Look>({ ...FIRST_LOOK, jobId })
  if (look.jobId !== jobId) {
    setLook({ ...FIRST_LOOK, jobId }) // another job is looked at anew
    setDrawing(null)
    setSnap('half')
  }
  const change = (changed: Partial<Look>) => setLook((now) => ({ ...now, ...changed }))

  const { job, error } = useJob(jobId, who?.token)
  const ready = job?.status === 'successful'
  const results = useResource(ready ? job.jobID : null, (signal) => fetchResults(job!.jobID, signal))

  const chosen = entered.year ?? limits.seasons.at(-1) ?? limits.baselines.at(-1) ?? null
  const year = jobId ? (job?.inputs.year ?? null) : chosen
  const baseline = baselines.find((row) => row.year === year) ?? null
  const parsed = parse(entered, limits)
  const rings = jobId ? (job?.area.coordinates ?? null) : (parsed.area?.rings ?? null)
  const prediction = results.data && { url: results.data.tiles[look.mode], bbox: results.data.bbox }

  useEffect(() => {
    if (!drawing) return
    const onKey = ({ key }: KeyboardEvent) => key === 'Escape' && setDrawing(null)
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [drawing])
  const arrived = results.data && rings
  useEffect(() => {
    if (arrived) map?.fit(bboxOf(arrived)) // what was waited for is looked at
  }, [map, arrived !== null])

  function onDrawn(drawn: Drawn) {
    setDrawing(null)
    setSnap('half')
    if ('ring' in drawn) editPolygon(drawn.ring)
    else editCircle(drawn.centre, Math.min(limits.radius_m.max, Math.max(limits.radius_m.min, drawn.radius_m)))
  }

  function startDrawing(shape: Shape) {
    edit({ shape })
    setGrowing(0)
    setDrawing(shape)
    setSnap('peek')
  }

  function onAsk(at: Position) {
    change({ asked: at })
    if (snap === 'peek') setSnap('half')
  }

  return (
    <div className="workspace">
      <Sheet snap={snap} onSnap={setSnap} onCover={setCovered}>
        {jobId === null ? (
          <PlanPanel
            limits={limits}
            year={chosen}
            entered={entered}
            parsed={parsed}
            drawing={drawing}
            onDraw={startDrawing}
            inView={() => map?.inView() ?? null}
          />
        ) : (
          <JobPanel
            id={jobId}
            job={job}
            error={error}
            results={results}
            ramp={legend.confidence ?? []}
            look={look}
            onLook={change}
          />
        )}
        {year !== null && <BaselineLegend year={year} baseline={baseline} rows={legend.baseline} />}
      </Sheet>
      <div className="map-place">
        {covered !== null && (<MapView
          limits={limits}
          baseline={baseline && { url: baseline.tiles, bbox: baseline.bbox }}
          prediction={prediction}
          opacity={look.opacity}
          swipe={look.swipe}
          rings={rings}
          mark={look.asked}
          covered={covered}
          drawing={drawing}
          editable={jobId === null && entered.shape === 'polygon'}
          onDrawn={onDrawn}
          onGrow={setGrowing}
          onAsk={results.data ? onAsk : null}
          onReady={setMap}
        />)}
        {look.swipe !== null && <Swipe value={look.swipe} onChange={(swipe) => change({ swipe })} />}
        {drawing && (
          <div className="drawing" role="status">
            <span>{drawing === 'circle' ? strings.map.drawCircle : strings.map.drawPolygon}</span>
            {growing > 0 && <strong>{hectares(growing)}</strong>}
            <button type="button" className="button button-small" onClick={() => setDrawing(null)}>
              {strings.map.stopDrawing}
            </button>
          </div>
        )}
      </div>
    </div>
  )
}
