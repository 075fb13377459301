import { useEffect, useState } from 'react'
import { noteJobsChanged } from '../api/account'
import { dismiss, newKey, submit } from '../api/calls'
import { asking, session } from '../api/session'
import type { Job, RampStop, Results } from '../api/types'
import type { Resource } from '../api/useResource'
import { editAgain } from '../draft'
import { date, duration, when } from '../format'
import { go } from '../route'
import { useStore } from '../store'
import { strings } from '../strings'
import { PlusIcon } from '../ui/icons'
import { ErrorNote, Note } from '../ui/Notes'
import type { Look } from './MapPage'
import { PointCard } from './PointCard'
import { ResultPanel } from './ResultPanel'

interface Props {
  id: string
  job: Job | null
  error: unknown
  results: Resource<Results>
  ramp: RampStop[]
  look: Look
  onLook: (change: Partial<Look>) => void
}

/** One job from its first state to its map. */
export function JobPanel({ id, job, error, results, ramp, look, onLook }: Props) {
  const who = useStore(session)
  const { job: say } = strings
  return (
    <>
      <div className="panel-top">
        <h1>{job ? say.title(job.inputs.year) : strings.loading}</h1>
        <a className="button button-small" href="#/map">
          <PlusIcon />
          {say.other}
        </a>
      </div>
      {error ? <ErrorNote error={error} /> : null}
      {!job && !who && (
        <Note>
          <p>{strings.account.needed}</p>
          <button type="button" className="button button-small" onClick={() => asking.set('wanted')}>
            {strings.account.signIn}
          </button>
        </Note>
      )}
      {job && (
        <p className="muted small">
          {say.made(when(job.created))} · {say.model(job.model.name, job.model.version)}
        </p>
      )}
      {job && ['accepted', 'running'].includes(job.status) && <Progress job={job} />}
      {job && ['failed', 'dismissed'].includes(job.status) && <NoMap job={job} />}
      {job?.status === 'successful' && (
        <>
          {look.asked && <PointCard id={id} at={look.asked} onClose={() => onLook({ asked: null })} />}
          {results.error ? <ErrorNote error={results.error} onRetry={results.reload} /> : null}
          {!results.data && !results.error && <p className="hint">{say.loadingResults}</p>}
          {results.data && (
            <ResultPanel
              results={results.data}
              name={`geocrop-${job.inputs.year}-${id.slice(0, 8)}`}
              ramp={ramp}
              look={look}
              onLook={onLook}
            />
          )}
        </>
      )}
    </>
  )
}

function Progress({ job }: { job: Job }) {
  const { job: say } = strings
  const [error, setError] = useState<unknown>(null)
  const [leaving, setLeaving] = useState(false)
  const waiting = job.status === 'accepted'
  const quarter = Math.floor(job.progress / 25) * 25 // a screen reader hears four steps, not a hundred

  async function cancel() {
    setLeaving(true)
    setError(null)
    try {
      await dismiss(job.jobID)
      noteJobsChanged()
    } catch (failure) {
      setError(failure)
      setLeaving(false)
    }
  }

  return (
    <section className="block progress-card">
      <div className="progress-line">
        <strong>{waiting ? say.waiting : `${job.progress} %`}</strong>
        {job.started && <Elapsed since={job.started} />}
      </div>
      <progress max={100} value={waiting ? undefined : job.progress} aria-label={say.progress} />
      <p className="progress-message">{job.message}</p>
      <p className="visually-hidden" role="status">
        {say.announce(say.status[job.status], quarter)}
      </p>
      {job.attempt > 1 && <Note tone="warn">{say.attempt(job.attempt)}</Note>}
      <ErrorNote error={error} />
      <p className="hint">{say.stay}</p>
      <button type="button" className="button" onClick={cancel} disabled={leaving}>
        {say.cancel}
      </button>
    </section>
  )
}

function Elapsed({ since }: { since: string }) {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [])
  return <span className="muted">{strings.job.elapsed(duration((now - Date.parse(since)) / 1000))}</span>
}

/** A job that ended without a map, and the two ways on. */
function NoMap({ job }: { job: Job }) {
  const { job: say } = strings
  const [error, setError] = useState<unknown>(null)
  const failed = job.status === 'failed'

  async function rerun() {
    try {
      const again = await submit(job.inputs, newKey())
      noteJobsChanged()
      go(`map/${again.jobID}`)
    } catch (failure) {
      setError(failure)
    }
  }

  return (
    <section className="block">
      <Note tone={failed ? 'error' : 'info'}>
        {failed && <p className="note-title">{say.failed}</p>}
        <p>{failed ? (job.problem?.detail ?? job.message) : say.cancelled}</p>
        {job.problem?.remedy && <p>{job.problem.remedy}</p>}
        {job.finished && <p className="muted">{date(job.finished)}</p>}
      </Note>
      <ErrorNote error={error} />
      <div className="row">
        <button
          type="button"
          className="button"
          onClick={() => {
            editAgain(job.inputs)
            go('map')
          }}
        >
          {say.change}
        </button>
        <button type="button" className="button button-primary" onClick={rerun}>
          {say.rerun}
        </button>
      </div>
    </section>
  )
}
