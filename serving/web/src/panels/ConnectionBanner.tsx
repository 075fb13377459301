import { useEffect, useState } from 'react'
import { connection } from '../api/connection'
import { useStore } from '../store'
import { strings } from '../strings'

const BACK_MS = 4_000

export function ConnectionBanner() {
  const { up, restorations } = useStore(connection)
  const [greeted, setGreeted] = useState(restorations)

  useEffect(() => {
    const timer = setTimeout(() => setGreeted(restorations), BACK_MS)
    return () => clearTimeout(timer)
  }, [restorations])

  const text = !up ? strings.connection.down : greeted < restorations ? strings.connection.back : null
  return (
    <div role="status" className="banner-place">
      {text && <p className={up ? 'banner banner-good' : 'banner'}>{text}</p>}
    </div>
  )
}
