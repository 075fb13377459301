/** A part of a system: a box with a name and a few words. */
export interface Box {
  id: string
  x: number
  y: number
  w: number
  h: number
  tone?: 'ours' | 'outside' | 'store' | 'end'
}
/** A straight line between two boxes: across at a height (y), or down at a place (x). */
export type Arrow = { from: string; to: string; label?: string; dashed?: boolean } & ({ y: number } | { x: number })

export interface Words {
  title: string
  lines?: readonly string[]
}
interface Props {
  width: number
  height: number
  boxes: readonly Box[]
  arrows: readonly Arrow[]
  words: Record<string, Words>
  labels: Record<string, string>
  /** What the picture says, for those who do not see it. */
  summary: string
}

const LINE = 17
const GAP = 3 // between a box and the tip of an arrow

/** Boxes and arrows from data. */
export function Diagram({ width, height, boxes, arrows, words, labels, summary }: Props) {
  const byId = new Map(boxes.map((box) => [box.id, box]))
  return (
    <svg className="diagram" viewBox={`0 0 ${width} ${height}`} style={{ minWidth: width }} role="img" aria-label={summary}>
      <defs>
        <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse">
          <path d="M0 .5 7.5 4 0 7.5z" />
        </marker>
      </defs>
      {arrows.map((arrow) => {
        const [from, to] = [byId.get(arrow.from), byId.get(arrow.to)]
        return from && to && <Line key={`${arrow.from} ${arrow.to} ${arrow.label}`} arrow={arrow} from={from} to={to} labels={labels} />
      })}
      {boxes.map((box) => (
        <g key={box.id} className={`box box-${box.tone ?? 'ours'}`}>
          <rect x={box.x} y={box.y} width={box.w} height={box.h} rx="10" />
          <BoxText box={box} words={words[box.id]} />
        </g>
      ))}
    </svg>
  )
}

function BoxText({ box, words }: { box: Box; words: Words | undefined }) {
  if (!words) return null
  const lines = words.lines ?? []
  const top = box.y + box.h / 2 - (lines.length * LINE) / 2 + 5
  const x = box.x + box.w / 2
  return (
    <text x={x} y={top} textAnchor="middle">
      <tspan className="box-title">{words.title}</tspan>
      {lines.map((line, n) => (
        <tspan key={n} x={x} y={top + LINE * (n + 1)}>
          {line}
        </tspan>
      ))}
    </text>
  )
}

function Line({ arrow, from, to, labels }: { arrow: Arrow; from: Box; to: Box; labels: Record<string, string> }) {
  const across = 'y' in arrow
  const forward = across ? from.x < to.x : from.y < to.y
  const begin = forward ? (across ? from.x + from.w : from.y + from.h) : across ? from.x : from.y
  const end = forward ? (across ? to.x : to.y) - GAP : (across ? to.x + to.w : to.y + to.h) + GAP
  const path = across ? `M${begin} ${arrow.y}H${end}` : `M${arrow.x} ${begin}V${end}`
  const middle = (begin + end) / 2
  return (
    <g className="arrow" data-dashed={arrow.dashed || undefined}>
      <path d={path} markerEnd="url(#tip)" />
      {arrow.label && (
        <text x={across ? middle : arrow.x + 8} y={across ? arrow.y - 7 : middle + 4} textAnchor={across ? 'middle' : 'start'}>
          {labels[arrow.label] ?? arrow.label}
        </text>
      )}
    </g>
  )
}
