import type { ComponentType } from 'react'
import { strings } from '../strings'
import { Architecture } from './Architecture'
import { Decisions } from './Decisions'
import { Infrastructure } from './Infrastructure'
import { Observability } from './Observability'
import { SystemStatus } from './SystemStatus'
import { Workflow } from './Workflow'

const PAGES = {
  architecture: Architecture,
  infrastructure: Infrastructure,
  workflow: Workflow,
  decisions: Decisions,
  observability: Observability,
  status: SystemStatus,
} satisfies Record<string, ComponentType>
type Name = keyof typeof PAGES

const isName = (name: string | null): name is Name => name !== null && name in PAGES

/** The technical pages. What they state of the project comes from facts.json, which facts.py takes from the project. */
export default function About({ page }: { page: string | null }) {
  const name = isName(page) ? page : 'architecture'
  const Page = PAGES[name]
  const { about } = strings
  return (
    <div className="about">
      <nav aria-label={about.label}>
        {(Object.keys(PAGES) as Name[]).map((one) => (
          <a key={one} href={`#/about/${one}`} aria-current={one === name ? 'page' : undefined}>
            {about[one].title}
          </a>
        ))}
      </nav>
      <article key={name}>
        <h1>{about[name].title}</h1>
        <p className="about-lead">{about[name].lead}</p>
        <Page />
      </article>
    </div>
  )
}
