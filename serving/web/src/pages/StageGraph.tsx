import { strings } from '../strings'

export interface Stage {
  name: string
  says: string
  code: number
  params: string[]
  deps: string[]
  outs: string[]
}

const WIDTH = 900
const ROW = 104
const BOX = { x: 160, w: 400, h: 76 }
const LANE = 20 // between two lines
const ROUND = 8
const LANES = ['#2f6fb0', '#a15c00', '#8a4a9e', '#17573a', '#9c1c14', '#5b6b62']

interface Lane {
  from: number
  to: number[]
  last: number
  x: number
  colour: string
}

/** Stages from top to bottom. What one makes runs down a line of its own to all that read it. */
export function StageGraph({ stages }: { stages: Stage[] }) {
  const { workflow: say } = strings.about
  const sources = [...new Set(stages.flatMap(({ deps }) => deps))].filter((dep) => !stages.some((s) => s.outs.includes(dep)))
  const rows = [{ name: sources.join(', '), says: say.source, outs: sources }, ...stages]
  const lanes = lanesOf(rows.map(({ outs }) => outs), stages)
  const y = (row: number) => 6 + row * ROW
  const out = (row: number) => y(row) + BOX.h - 12
  const into = (row: number, lane: Lane) => {
    const before = lanes.filter(({ to }) => to.includes(row)).sort((a, b) => a.from - b.from)
    return y(row) + 14 + 12 * before.indexOf(lane)
  }
  return (
    <svg
      className="diagram stage-graph"
      viewBox={`0 0 ${WIDTH} ${y(rows.length - 1) + BOX.h + 6}`}
      style={{ minWidth: WIDTH }}
      role="img"
      aria-label={say.summary(stages.map(({ name }) => name))}
    >
      {lanes.map((lane) => (
        <g key={lane.from} className="lane" stroke={lane.colour} fill={lane.colour}>
          <path
            fill="none"
            d={`M${BOX.x} ${out(lane.from)}H${lane.x + ROUND}q-${ROUND} 0 -${ROUND} ${ROUND}V${into(lane.last, lane) - ROUND}`}
          />
          <circle cx={BOX.x} cy={out(lane.from)} r="4" stroke="none" />
          {lane.to.map((row) => (
            <g key={row}>
              <path fill="none" d={`M${lane.x} ${into(row, lane) - ROUND}q0 ${ROUND} ${ROUND} ${ROUND}H${BOX.x - 8}`} />
              <path stroke="none" d={`M${BOX.x - 1} ${into(row, lane)}l-9 -4.5v9z`} />
            </g>
          ))}
        </g>
      ))}
      {rows.map((row, n) => (
        <g key={row.name}>
          <g className={`box box-${n === 0 ? 'outside' : 'ours'}`}>
            <rect x={BOX.x} y={y(n)} width={BOX.w} height={BOX.h} rx="10" />
            <text x={BOX.x + 18} y={y(n) + 30} className="box-title">
              {n === 0 ? row.name : `${n}  ${row.name}`}
            </text>
            <text x={BOX.x + 18} y={y(n) + 51}>
              {row.says}
            </text>
          </g>
          {n > 0 && <Outs outs={row.outs} y={y(n)} />}
        </g>
      ))}
    </svg>
  )
}

function Outs({ outs, y }: { outs: string[]; y: number }) {
  const shown = outs.slice(0, 4)
  return (
    <text className="stage-outs" x={BOX.x + BOX.w + 20} y={y + BOX.h / 2 - (shown.length * 17) / 2 + 12}>
      {shown.map((out, n) => (
        <tspan key={out} x={BOX.x + BOX.w + 20} dy={n ? 17 : 0}>
          {out}
          {n === 3 && outs.length > 4 && ` +${outs.length - 4}`}
        </tspan>
      ))}
    </text>
  )
}

/** One line for each row that others read, those that reach furthest outside. */
function lanesOf(outs: string[][], stages: Stage[]): Lane[] {
  const readers = outs.map((made) =>
    stages.flatMap(({ deps }, n) => (deps.some((dep) => made.includes(dep)) ? [n + 1] : [])),
  )
  return readers
    .flatMap((to, from) => (to.length ? [{ from, to, last: Math.max(...to) }] : []))
    .sort((a, b) => a.last - a.from - (b.last - b.from))
    .map((lane, n) => ({ ...lane, x: BOX.x - 30 - LANE * n, colour: LANES[lane.from % LANES.length]! }))
}
