import { type KeyboardEvent, useEffect, useEffectEvent, useLayoutEffect, useRef, useState } from 'react'
import { boundary } from '../api/calls'
import { connection } from '../api/connection'
import type { Limits, Position } from '../api/types'
import { useStore } from '../store'
import { strings } from '../strings'
import { bboxOf } from './area'
import { CropMap } from './CropMap'
import type { Drawn, Shape } from './draw'
import type { Tiles } from './tiles'

interface Props {
  limits: Limits
  baseline: Tiles | null
  prediction: Tiles | null
  opacity: number
  swipe: number | null
  rings: Position[][] | null
  mark: Position | null
  /** Height that the panel covers at the bottom, in CSS pixels. */
  covered: number
  /** Shape that is being drawn. */
  drawing: Shape | null
  /** Whether the corners of the outline can be dragged. */
  editable: boolean
  onDrawn: (drawn: Drawn) => void
  onGrow: (hectares: number) => void
  /** Somebody asks about a place; null: nobody can. */
  onAsk: ((at: Position) => void) | null
  onReady: (map: CropMap | null) => void
}

const SETTLED_MS = 500 // an area that is being typed is followed when it stands still

/** The map as a component: each property that changes is one thing that the map does. */
export function MapView(props: Props) {
  const { limits, baseline, prediction, opacity, swipe, rings, mark, covered, drawing, editable, onAsk } = props
  const target = useRef<HTMLDivElement>(null)
  const [map, setMap] = useState<CropMap | null>(null)
  const { restorations } = useStore(connection)
  const onReady = useEffectEvent(props.onReady)
  const onDrawn = useEffectEvent(props.onDrawn)
  const onGrow = useEffectEvent(props.onGrow)
  const coveredFirst = useEffectEvent(() => covered)
  const ask = useEffectEvent((at: Position) => onAsk?.(at))

  useLayoutEffect(() => {
    const made = new CropMap(target.current!, limits, coveredFirst())
    setMap(made)
    onReady(made)
    return () => {
      onReady(null)
      made.dispose()
    }
  }, [limits])

  useEffect(() => map?.showBaseline(baseline), [map, baseline?.url])
  useEffect(() => {
    if (map && limits.boundary) boundary(limits.boundary).then((outline) => map.showBoundary(outline), console.warn)
  }, [map, limits])
  useEffect(() => map?.cover(covered), [map, covered])
  useEffect(() => map?.setOpacity(opacity), [map, opacity])
  useEffect(() => map?.showPrediction(prediction), [map, prediction?.url])
  useEffect(() => map?.setSwipe(swipe), [map, swipe])
  const outline = JSON.stringify(rings)
  useEffect(() => {
    map?.showArea(rings)
    const timer = setTimeout(() => rings && map?.reveal(bboxOf(rings)), SETTLED_MS)
    return () => clearTimeout(timer)
  }, [map, outline])
  useEffect(() => map?.mark(mark), [map, mark])
  useEffect(() => (drawing ? map?.draw(drawing, onDrawn, onGrow) : undefined), [map, drawing])
  useEffect(
    () => (editable && !drawing ? map?.modify((ring) => onDrawn({ ring })) : undefined),
    [map, editable, drawing],
  )
  const asks = onAsk !== null && !drawing
  useEffect(() => (asks ? map?.onClick(ask) : undefined), [map, asks])
  useEffect(() => {
    if (restorations > 0) map?.refresh()
  }, [map, restorations])

  function onKeyDown(event: KeyboardEvent) {
    if (event.key === 'Enter' && asks && map) ask(map.centre)
  }

  return (
    <div
      ref={target}
      className="map"
      style={{ '--covered': `${covered}px` }}
      tabIndex={0}
      role="application"
      aria-label={asks ? strings.map.label : strings.map.labelPlan}
      data-asks={asks || undefined}
      data-drawing={drawing ?? undefined}
      onKeyDown={onKeyDown}
    />
  )
}
