import { createStore, remember, remembered } from './store'
import type { Inputs, Position } from './api/types'

/**
 * The area as it stands in the form. Typing and drawing both write this text, and everything else (outline, hectares,
 * quote, job) is computed from it. It outlives a reload, an expired token and an absent service.
 */
export interface Draft {
  shape: 'circle' | 'polygon'
  lon: string
  lat: string
  radius: string
  polygon: string
  year: number | null
}

const KEY = 'geocrop.draft'
const EMPTY: Draft = { shape: 'circle', lon: '', lat: '', radius: '', polygon: '', year: null }

export const draft = createStore<Draft>({ ...EMPTY, ...remembered<Draft>(KEY) })
draft.subscribe(() => remember(KEY, draft.get()))

export function edit(change: Partial<Draft>): void {
  draft.set({ ...draft.get(), ...change })
}

const degrees = (value: number) => String(Number(value.toFixed(6))) // 0.1 m

export function editCircle([lon, lat]: Position, radius_m: number): void {
  edit({ shape: 'circle', lon: degrees(lon), lat: degrees(lat), radius: String(Math.round(radius_m)) })
}

export function editPolygon(ring: Position[]): void {
  const positions = ring.map(([lon, lat]) => `[${degrees(lon)}, ${degrees(lat)}]`)
  edit({ shape: 'polygon', polygon: `{"type": "Polygon", "coordinates": [[${positions.join(', ')}]]}` })
}

/** Puts the inputs of an earlier job into the form. */
export function editAgain({ aoi, year }: Inputs): void {
  if (Array.isArray(aoi)) editCircle([aoi[0], aoi[1]], aoi[2])
  else edit({ shape: 'polygon', polygon: JSON.stringify(aoi) })
  edit({ year })
}
