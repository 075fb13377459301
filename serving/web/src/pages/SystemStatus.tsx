import { useEffect, useState } from 'react'
import { system } from '../api/calls'
import { connection } from '../api/connection'
import type { Service } from '../api/types'
import { useResource } from '../api/useResource'
import { title, when } from '../format'
import { useStore } from '../store'
import { strings } from '../strings'
import { ErrorNote } from '../ui/Notes'

const REFRESH_MS = 5_000

/** Each part of the service as the service itself finds it, now. */
export function SystemStatus() {
  const { status: say } = strings.about
  const { up } = useStore(connection)
  const { data, error, reload } = useResource('system', async (signal) => ({
    ...(await system(signal)),
    at: new Date(),
  }))

  useEffect(() => {
    const timer = setInterval(() => document.hidden || reload(), REFRESH_MS)
    return () => clearInterval(timer)
  }, [reload])

  if (error) return <ErrorNote error={error} onRetry={reload} />
  if (!data) return <p className="hint">{up ? say.asking : say.unreachable}</p>
  const verdict = !up ? 'away' : data.degraded ? 'degraded' : 'ok'
  return (
    <>
      <p className={`verdict verdict-${verdict}`} role="status">
        <i className="dot" /> {say.verdict[verdict]}
      </p>
      <ul className="services">
        {Object.entries(data.services).map(([name, service]) => (
          <Card key={name} name={name} service={up ? service : { state: 'unknown' }} />
        ))}
      </ul>
      <p className="hint">
        {say.checked} <Clock at={data.at} />. {say.every(REFRESH_MS / 1000)}
      </p>
    </>
  )
}

function Card({ name, service }: { name: string; service: Service }) {
  const { status: say } = strings.about
  const known = say.services[name as keyof typeof say.services]
  return (
    <li className={`service service-${service.state}`}>
      <h2>{known?.name ?? title(name)}</h2>
      <p className="service-state">
        <i className="dot" /> {say.states[service.state as keyof typeof say.states] ?? service.state}
      </p>
      <p className="muted">{known?.is}</p>
      <p className="small">
        {[
          service.alive !== undefined && say.alive(service.alive),
          service.ms !== undefined && say.answered(service.ms),
          service.since && say.since(when(service.since)),
        ]
          .filter(Boolean)
          .join(' · ')}
      </p>
    </li>
  )
}

function Clock({ at }: { at: Date }) {
  const [, tick] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 1000)
    return () => clearInterval(timer)
  }, [])
  return <>{strings.about.status.ago(Math.round((Date.now() - at.getTime()) / 1000))}</>
}
