import facts from '../facts.json'
import { strings } from '../strings'
import { Section, Table, Wide } from './parts'
import { type Stage, StageGraph } from './StageGraph'

const stages: Stage[] = facts.stages

export function Workflow() {
  const { workflow: say } = strings.about
  const { by_block, by_random } = facts.score
  return (
    <>
      <Wide label={say.graph} caption={say.caption}>
        <StageGraph stages={stages} />
      </Wide>
      {say.sections.map(({ title, text }) => (
        <Section key={title} title={title} text={text} />
      ))}
      <Section title={say.stages.title} text={say.stages.text}>
        <Table
          label={say.stages.title}
          head={say.stages.head}
          rows={stages.map(({ name, says, code, params }) => [name, says, code, params.join(', ')])}
        />
      </Section>
      <Section title={say.gate.title} text={[say.gate.score(by_block, by_random), ...say.gate.text]}>
        <Table
          label={say.gate.title}
          head={say.gate.head}
          rows={facts.gate.map(({ name, found, expected, passed }) => [
            name,
            found,
            expected,
            passed ? say.gate.passed : say.gate.failed,
          ])}
        />
      </Section>
      <Section title={say.library.title} text={say.library.text}>
        <Table
          label={say.library.title}
          head={say.library.head}
          rows={facts.modules.map(({ floor, name, says }) => [<code key="name">{name}</code>, floor, says])}
        />
      </Section>
    </>
  )
}
