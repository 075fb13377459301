import { type PointerEvent, type ReactNode, useEffectEvent, useLayoutEffect, useRef } from 'react'
import { strings } from '../strings'

/** How much of a phone's screen the panel takes. On a wide screen it stands beside the map, whatever this says. */
export type Snap = 'peek' | 'half' | 'full'

const ORDER: Snap[] = ['peek', 'half', 'full']
const DRAG_PX = 40 // less is a tap

interface Props {
  snap: Snap
  onSnap: (snap: Snap) => void
  /** Hears how much of the map's height the panel covers, in CSS pixels. */
  onCover: (height: number) => void
  children: ReactNode
}

export function Sheet({ snap, onSnap, onCover, children }: Props) {
  const panel = useRef<HTMLElement>(null)
  const start = useRef<number | null>(null)
  const dragged = useRef(false)
  const covers = useEffectEvent(() => {
    const over = panel.current && getComputedStyle(panel.current).position === 'absolute'
    onCover(over && snap !== 'full' ? panel.current!.offsetHeight : 0)
  })
  useLayoutEffect(() => {
    covers() // now, and not a frame later: the map waits for it
    const observer = new ResizeObserver(() => covers())
    observer.observe(panel.current!)
    return () => observer.disconnect()
  }, [])
  const move = (steps: number) => {
    const next = ORDER[Math.min(2, Math.max(0, ORDER.indexOf(snap) + steps))]
    if (next) onSnap(next)
  }

  function onPointerDown(event: PointerEvent) {
    start.current = event.clientY
    dragged.current = false
    event.currentTarget.setPointerCapture(event.pointerId)
  }

  function onPointerUp(event: PointerEvent) {
    const distance = event.clientY - (start.current ?? event.clientY)
    start.current = null
    dragged.current = Math.abs(distance) > DRAG_PX
    if (dragged.current) move(distance < 0 ? 1 : -1)
  }

  function onClick() {
    if (!dragged.current) move(snap === 'full' ? -2 : 1)
  }

  return (
    <section ref={panel} className="panel" data-snap={snap} aria-label={strings.map.sheet.label}>
      <button
        type="button"
        className="panel-handle"
        aria-expanded={snap !== 'peek'}
        aria-label={snap === 'full' ? strings.map.sheet.less : strings.map.sheet.more}
        onPointerDown={onPointerDown}
        onPointerUp={onPointerUp}
        onClick={onClick}
      />
      <div className="panel-body">{children}</div>
    </section>
  )
}
