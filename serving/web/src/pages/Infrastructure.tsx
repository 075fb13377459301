import facts from '../facts.json'
import { strings } from '../strings'
import { Section, Table } from './parts'

const shown = (value: string | number | boolean) => (value === '' ? strings.about.empty : String(value))

export function Infrastructure() {
  const { infrastructure: say } = strings.about
  return (
    <>
      <Section title={say.shapes.title} text={say.shapes.text}>
        <Table label={say.shapes.title} head={say.shapes.head} rows={say.shapes.rows} />
      </Section>
      {say.sections.map(({ title, text }) => (
        <Section key={title} title={title} text={text} />
      ))}
      <Section title={say.settings.title} text={say.settings.text}>
        <Table
          label={say.settings.title}
          head={say.settings.head}
          rows={facts.settings.map(({ key, default: value, says }) => [
            <code key="key">{key}</code>,
            <code key="value">{shown(value)}</code>,
            says,
          ])}
        />
      </Section>
      <Section title={say.cluster.title} text={say.cluster.text}>
        <Table
          label={say.cluster.title}
          head={say.cluster.head}
          rows={facts.manifests.map(({ file, kind, name }) => [name, kind, <code key="file">{file}</code>])}
        />
      </Section>
      <Section title={say.packages.title} text={say.packages.text}>
        <ul className="packages">
          {Object.entries(facts.packages).map(([name, version]) => (
            <li key={name}>
              {name} <span className="muted">{version}</span>
            </li>
          ))}
        </ul>
      </Section>
    </>
  )
}
