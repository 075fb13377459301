import { lazy, Suspense, useEffect, useRef } from 'react'
import { watch } from './api/connection'
import { ConnectionBanner } from './panels/ConnectionBanner'
import { Header } from './panels/Header'
import { JobsPage } from './panels/JobsPage'
import { MapPage } from './panels/MapPage'
import { SignIn } from './panels/SignIn'
import { useRoute } from './route'
import { strings } from './strings'

const About = lazy(() => import('./pages/About'))

export function App() {
  const [place, detail] = useRoute()
  const main = useRef<HTMLElement>(null)
  const shown = useRef(place)

  useEffect(watch, [])
  useEffect(() => {
    document.title = strings.pageTitle(place)
  }, [place])
  useEffect(() => {
    if (shown.current !== place) main.current?.focus() // a new page is read from its beginning
    shown.current = place
  }, [place])

  return (
    <>
      <button type="button" className="skip" onClick={() => main.current?.focus()}>
        {strings.skip}
      </button>
      <Header place={place} />
      <ConnectionBanner />
      <main ref={main} tabIndex={-1}>
        <Suspense fallback={<p className="page-wait">{strings.loading}</p>}>
          <Page place={place} detail={detail ?? null} />
        </Suspense>
      </main>
      <SignIn />
    </>
  )
}

function Page({ place, detail }: { place: string | undefined; detail: string | null }) {
  if (place === 'map') return <MapPage jobId={detail} />
  if (place === 'jobs') return <JobsPage />
  if (place === 'about') return <About page={detail} />
  return (
    <div className="page page-narrow">
      <h1>{strings.errors.notFound}</h1>
      <a className="button" href="#/map">
        {strings.errors.toMap}
      </a>
    </div>
  )
}
