import facts from '../facts.json'
import { strings } from '../strings'
import { type Arrow, type Box, Diagram } from './Diagram'
import { Section, Table, Wide } from './parts'

const W = 168
const COLUMN = [0, 256, 512, 768]
const column = (n: number) => COLUMN[n]!

const BOXES: Box[] = [
  { id: 'map', x: column(0), y: 20, w: W, h: 92, tone: 'outside' },
  { id: 'programs', x: column(0), y: 220, w: W, h: 92, tone: 'outside' },
  { id: 'api', x: column(1), y: 20, w: W, h: 392 },
  { id: 'database', x: column(2), y: 20, w: W, h: 72, tone: 'store' },
  { id: 'queue', x: column(2), y: 126, w: W, h: 72, tone: 'store' },
  { id: 'store', x: column(2), y: 232, w: W, h: 72, tone: 'store' },
  { id: 'answers', x: column(2), y: 340, w: W, h: 72 },
  { id: 'worker', x: column(3), y: 20, w: W, h: 392 },
  { id: 'archive', x: column(2), y: 476, w: column(3) + W - column(2), h: 60, tone: 'outside' },
]
const ARROWS: Arrow[] = [
  { from: 'map', to: 'api', y: 66, label: 'http' },
  { from: 'programs', to: 'api', y: 266, label: 'ogc' },
  { from: 'api', to: 'database', y: 56, label: 'rows' },
  { from: 'api', to: 'queue', y: 162, label: 'wakes', dashed: true },
  { from: 'api', to: 'store', y: 268, label: 'tiles' },
  { from: 'api', to: 'answers', y: 376, label: 'quotes' },
  { from: 'worker', to: 'database', y: 56, label: 'claims' },
  { from: 'queue', to: 'worker', y: 162, label: 'wakes', dashed: true },
  { from: 'worker', to: 'store', y: 268, label: 'results' },
  { from: 'answers', to: 'archive', x: column(2) + W / 2, label: 'curves' },
  { from: 'worker', to: 'archive', x: column(3) + W / 2, label: 'scenes' },
]

const STATES: Box[] = [
  { id: 'accepted', x: 0, y: 50, w: 150, h: 112 },
  { id: 'running', x: 300, y: 0, w: 150, h: 212 },
  { id: 'successful', x: 600, y: 0, w: 150, h: 56, tone: 'end' },
  { id: 'failed', x: 600, y: 78, w: 150, h: 56, tone: 'end' },
  { id: 'dismissed', x: 600, y: 156, w: 150, h: 56, tone: 'end' },
]
const STEPS: Arrow[] = [
  { from: 'accepted', to: 'running', y: 84, label: 'claimed' },
  { from: 'running', to: 'accepted', y: 132, label: 'lost', dashed: true },
  { from: 'running', to: 'successful', y: 28, label: 'published' },
  { from: 'running', to: 'failed', y: 106, label: 'givenUp' },
  { from: 'running', to: 'dismissed', y: 184, label: 'cancelled' },
]

export function Architecture() {
  const { architecture: say } = strings.about
  return (
    <>
      <Wide label={say.diagram} caption={say.caption}>
        <Diagram
          width={936}
          height={556}
          boxes={BOXES}
          arrows={ARROWS}
          words={say.boxes}
          labels={say.arrows}
          summary={say.summary}
        />
      </Wide>
      {say.sections.map(({ title, text }) => (
        <Section key={title} title={title} text={text} />
      ))}
      <Section title={say.states.title} text={say.states.text}>
        <Wide label={say.states.title} caption={say.states.caption}>
          <Diagram
            width={750}
            height={212}
            boxes={STATES}
            arrows={STEPS}
            words={say.states.boxes}
            labels={say.states.arrows}
            summary={say.states.caption}
          />
        </Wide>
      </Section>
      <Section title={say.http.title} text={say.http.text}>
        <Table
          label={say.http.title}
          head={say.http.head}
          rows={facts.routes.map(({ method, path, says }) => [<code key="path">{path}</code>, method, says])}
        />
      </Section>
    </>
  )
}
