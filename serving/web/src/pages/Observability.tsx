import facts from '../facts.json'
import { strings } from '../strings'
import { Section, Table } from './parts'

export function Observability() {
  const { observability: say } = strings.about
  return (
    <>
      <Section title={say.metrics.title} text={say.metrics.text}>
        <Table
          label={say.metrics.title}
          head={say.metrics.head}
          rows={facts.metrics.map(({ name, kind, says }) => [<code key="name">{name}</code>, kind, says])}
        />
      </Section>
      {say.sections.map(({ title, text }) => (
        <Section key={title} title={title} text={text} />
      ))}
    </>
  )
}
