import { getArea } from 'ol/sphere'
import { circular, default as PolygonGeometry } from 'ol/geom/Polygon'
import { strings } from '../strings'
import type { Draft } from '../draft'
import type { Aoi, BBox, Limits, Polygon, Position } from '../api/types'

export interface Area {
  aoi: Aoi
  rings: Position[][]
  hectares: number
}
/** An area, or what stands in its way; both null while nothing has been said yet. */
export interface Parsed {
  area: Area | null
  problem: string | null
  field: 'lon' | 'lat' | 'radius' | 'polygon' | null
}

const CORNERS = 64 // as geocrop.schema.AOI.polygon
const say = strings.area.problems
const NOTHING: Parsed = { area: null, problem: null, field: null }
const refuse = (problem: string, field: Parsed['field']): Parsed => ({ area: null, problem, field })

export function parse(draft: Draft, limits: Limits): Parsed {
  const parsed = draft.shape === 'circle' ? parseCircle(draft, limits) : parsePolygon(draft.polygon)
  if (!parsed.area) return parsed
  const { hectares, rings } = parsed.area
  const field = draft.shape === 'circle' ? 'radius' : 'polygon'
  if (hectares > limits.area_ha_max) return refuse(say.tooLarge(hectares, limits.area_ha_max), field)
  const ring = rings[0] ?? []
  if (!touches(ring, limits.bbox)) {
    const swapped = ring.map(([lon, lat]): Position => [lat, lon])
    return refuse(
      touches(swapped, limits.bbox) ? say.swapped : say.outside(limits.bbox),
      draft.shape === 'circle' ? 'lon' : 'polygon',
    )
  }
  return parsed
}

function parseCircle({ lon, lat, radius }: Draft, { radius_m }: Limits): Parsed {
  if (![lon, lat, radius].some((text) => text.trim())) return NOTHING
  const x = numberOf(lon)
  const y = numberOf(lat)
  const r = numberOf(radius)
  if (x === null || Math.abs(x) > 180) return refuse(say.lon(lon), 'lon')
  if (y === null || Math.abs(y) > 90) return refuse(say.lat(lat), 'lat')
  if (r === null || r < radius_m.min || r > radius_m.max) return refuse(say.radius(radius, radius_m), 'radius')
  return accepted([x, y, r], disc([x, y], r))
}

export function disc(centre: Position, radius_m: number): Position[][] {
  return circular(centre, radius_m, CORNERS).getCoordinates() as Position[][]
}

function parsePolygon(text: string): Parsed {
  if (!text.trim()) return NOTHING
  let geometry: Polygon | null
  try {
    geometry = polygonOf(JSON.parse(text))
  } catch {
    return refuse(say.json, 'polygon')
  }
  if (!geometry) return refuse(say.noPolygon, 'polygon')
  for (const ring of geometry.coordinates) {
    const [first, last] = [ring[0], ring.at(-1)]
    if (ring.length < 4 || first?.[0] !== last?.[0] || first?.[1] !== last?.[1]) return refuse(say.open, 'polygon')
    if (!ring.every(([lon, lat]) => Math.abs(lon) <= 180 && Math.abs(lat) <= 90)) return refuse(say.degrees, 'polygon')
  }
  return accepted(geometry, geometry.coordinates)
}

/** The polygon of a geometry, of a feature, or of a collection that holds one; positions lose their height. */
function polygonOf(value: unknown): Polygon | null {
  const object = value as { type?: string; geometry?: unknown; features?: unknown[]; coordinates?: number[][][] } | null
  if (object?.type === 'Feature') return polygonOf(object.geometry)
  if (object?.type === 'FeatureCollection') return object.features?.length === 1 ? polygonOf(object.features[0]) : null
  if (object?.type !== 'Polygon' || !Array.isArray(object.coordinates) || !object.coordinates.length) return null
  const positions = object.coordinates.map((ring) => ring.map(([lon, lat]) => [lon, lat] as Position))
  return positions.flat(2).every(Number.isFinite) ? { type: 'Polygon', coordinates: positions } : null
}

/** Area on the sphere, without its holes. */
export function hectaresOf(rings: Position[][]): number {
  return getArea(new PolygonGeometry(rings), { projection: 'EPSG:4326' }) / 10_000
}

function accepted(aoi: Aoi, rings: Position[][]): Parsed {
  return { area: { aoi, rings, hectares: hectaresOf(rings) }, problem: null, field: null }
}

function numberOf(text: string): number | null {
  const value = Number(text)
  return text.trim() && Number.isFinite(value) ? value : null
}

export function bboxOf(rings: Position[][]): BBox {
  const lons = rings.flat().map(([lon]) => lon)
  const lats = rings.flat().map(([, lat]) => lat)
  return [Math.min(...lons), Math.min(...lats), Math.max(...lons), Math.max(...lats)]
}

function touches(ring: Position[], [west, south, east, north]: BBox): boolean {
  const [left, bottom, right, top] = bboxOf([ring])
  return right >= west && left <= east && top >= south && bottom <= north
}
