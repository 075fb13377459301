import { useEffect, useState } from 'react'
import { jobsChanged, noteJobsChanged, useMe } from '../api/account'
import { dismiss, jobs as fetchJobs, newKey, submit } from '../api/calls'
import { asking, session } from '../api/session'
import type { Job } from '../api/types'
import { useResource } from '../api/useResource'
import { editAgain } from '../draft'
import { degrees, hectares, when } from '../format'
import { hectaresOf } from '../map/area'
import { go } from '../route'
import { useStore } from '../store'
import { strings } from '../strings'
import { ErrorNote } from '../ui/Notes'

const REFRESH_MS = 5_000 // while something is running

export function JobsPage() {
  const who = useStore(session)
  const me = useMe()
  const { jobs: say, account } = strings
  return (
    <div className="page">
      <div className="page-top">
        <div>
          <h1>{say.title}</h1>
          <p className="lead">{say.lead}</p>
        </div>
        {me && (
          <p className="usage">
            {me.jobs_allowed === null ? account.unlimited(me.jobs_used) : account.used(me.jobs_used, me.jobs_allowed)}
          </p>
        )}
      </div>
      {who ? (
        <List key={who.token} />
      ) : (
        <div className="empty">
          <p>{say.signIn}</p>
          <button type="button" className="button button-primary" onClick={() => asking.set('wanted')}>
            {account.signIn}
          </button>
        </div>
      )}
    </div>
  )
}

function List() {
  const { jobs: say } = strings
  const turn = useStore(jobsChanged)
  const first = useResource('jobs', (signal) => fetchJobs(null, signal))
  const [older, setOlder] = useState<{ jobs: Job[]; next: string | null } | null>(null)
  const [error, setError] = useState<unknown>(null)
  const running = first.data?.jobs.some(({ status }) => ['accepted', 'running'].includes(status)) ?? false
  const { reload } = first

  useEffect(() => {
    if (turn > 0) reload()
  }, [turn, reload])
  useEffect(() => {
    if (!running) return
    const timer = setInterval(reload, REFRESH_MS)
    return () => clearInterval(timer)
  }, [running, reload])

  if (first.error) return <ErrorNote error={first.error} onRetry={reload} />
  if (!first.data) return <p className="hint">{say.loading}</p>
  if (!first.data.jobs.length) {
    return (
      <div className="empty">
        <p>{say.none}</p>
        <a className="button button-primary" href="#/map">
          {say.first}
        </a>
      </div>
    )
  }
  const next = older ? older.next : first.data.next

  async function more() {
    try {
      const page = await fetchJobs(next, undefined)
      setOlder({ jobs: [...(older?.jobs ?? []), ...page.jobs], next: page.next })
    } catch (failure) {
      setError(failure)
    }
  }

  return (
    <>
      <ul className="jobs">
        {[...first.data.jobs, ...(older?.jobs ?? [])].map((job) => (
          <Row key={job.jobID} job={job} />
        ))}
      </ul>
      <ErrorNote error={error} />
      {next && (
        <button type="button" className="button" onClick={more}>
          {say.more}
        </button>
      )}
    </>
  )
}

function Row({ job }: { job: Job }) {
  const { jobs: say, job: states } = strings
  const [error, setError] = useState<unknown>(null)
  const { aoi, year } = job.inputs
  const active = ['accepted', 'running'].includes(job.status)

  async function act(action: () => Promise<unknown>) {
    setError(null)
    try {
      await action()
      noteJobsChanged()
    } catch (failure) {
      setError(failure)
    }
  }

  const again = () => act(async () => go(`map/${(await submit(job.inputs, newKey())).jobID}`))
  function change() {
    editAgain(job.inputs)
    go('map')
  }

  return (
    <li className="job">
      <Outline job={job} />
      <div className="job-about">
        <h2>
          <a href={`#/map/${job.jobID}`}>{states.title(year)}</a>
          <span className={`pill pill-${job.status}`}>
            {states.status[job.status]}
            {job.status === 'running' && ` ${job.progress} %`}
          </span>
        </h2>
        <p className="muted">
          {Array.isArray(aoi)
            ? say.circle(degrees(aoi[0]), degrees(aoi[1]), String(aoi[2]))
            : say.polygon((aoi.coordinates[0]?.length ?? 1) - 1)}
          , {hectares(hectaresOf(job.area.coordinates))}
        </p>
        <p className="muted small">{when(job.created)}</p>
        {job.status === 'failed' && job.problem?.detail && <p className="job-why">{job.problem.detail}</p>}
        <ErrorNote error={error} />
      </div>
      <div className="job-actions">
        <a className="button button-small button-primary" href={`#/map/${job.jobID}`}>
          {say.open}
        </a>
        {active ? (
          <button type="button" className="button button-small" onClick={() => act(() => dismiss(job.jobID))}>
            {say.cancel}
          </button>
        ) : (
          <>
            <button type="button" className="button button-small" onClick={again}>
              {say.again}
            </button>
            <button type="button" className="button button-small" onClick={change}>
              {say.change}
            </button>
          </>
        )}
      </div>
    </li>
  )
}

/** The area's outline as a stamp, north up. */
function Outline({ job }: { job: Job }) {
  const ring = job.area.coordinates[0] ?? []
  const lat = ring[0]?.[1] ?? 0
  const shrink = Math.cos((lat * Math.PI) / 180)
  const xs = ring.map(([lon]) => lon * shrink)
  const ys = ring.map(([, y]) => -y)
  const [left, top] = [Math.min(...xs), Math.min(...ys)]
  const size = Math.max(Math.max(...xs) - left, Math.max(...ys) - top) || 1
  const points = ring.map((_, n) => `${(40 * (xs[n]! - left)) / size + 4},${(40 * (ys[n]! - top)) / size + 4}`)
  return (
    <svg className="job-outline" viewBox="0 0 48 48" aria-hidden="true">
      <polygon points={points.join(' ')} />
    </svg>
  )
}
