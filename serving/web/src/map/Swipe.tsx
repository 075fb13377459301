import { type KeyboardEvent, type PointerEvent, useRef } from 'react'
import { strings } from '../strings'
import { GripIcon } from '../ui/icons'

const STEPS: Record<string, number> = { ArrowLeft: -0.02, ArrowRight: 0.02, PageDown: -0.2, PageUp: 0.2, Home: -1, End: 1 }
const clamp = (part: number) => Math.min(1, Math.max(0, part))

/** The divider between land cover and crop map; dragged, or moved by the arrow keys. */
export function Swipe({ value, onChange }: { value: number; onChange: (value: number) => void }) {
  const place = useRef<HTMLDivElement>(null)

  function onPointerMove(event: PointerEvent) {
    if (!event.currentTarget.hasPointerCapture(event.pointerId) || !place.current) return
    const { left, width } = place.current.getBoundingClientRect()
    onChange(clamp((event.clientX - left) / width))
  }

  function onKeyDown(event: KeyboardEvent) {
    const step = STEPS[event.key]
    if (step === undefined) return
    event.preventDefault()
    onChange(clamp(value + step))
  }

  return (
    <div ref={place} className="swipe" style={{ '--at': `${value * 100}%` }}>
      <span className="swipe-label swipe-before">{strings.map.before}</span>
      <span className="swipe-label swipe-after">{strings.map.after}</span>
      <div
        className="swipe-handle"
        role="slider"
        tabIndex={0}
        aria-label={strings.map.swipe}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(value * 100)}
        onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
        onPointerMove={onPointerMove}
        onKeyDown={onKeyDown}
      >
        <GripIcon />
      </div>
    </div>
  )
}
