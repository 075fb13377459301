import type { Coordinate } from 'ol/coordinate'
import Polygon from 'ol/geom/Polygon'
import { Draw, Modify } from 'ol/interaction'
import type { GeometryFunction } from 'ol/interaction/Draw'
import type Map from 'ol/Map'
import { toLonLat, transform } from 'ol/proj'
import type VectorSource from 'ol/source/Vector'
import { getArea, getDistance } from 'ol/sphere'
import type { Position } from '../api/types'
import { disc } from './area'
import { sketch } from './style'

export type Shape = 'circle' | 'polygon'
export type Drawn = { centre: Position; radius_m: number } | { ring: Position[] }

export const lonLat = (coordinate: Coordinate) => toLonLat(coordinate) as Position

/** A disc in metres on the ground: on the screen a circle of map units would be 5 % too large at 17° S. */
const groundCircle: GeometryFunction = (coordinates, geometry) => {
  const [centre, edge] = (coordinates as Coordinate[]).map(lonLat) as [Position, Position]
  const radius_m = getDistance(centre, edge)
  const polygon = (geometry ?? new Polygon([])) as Polygon
  const rings = disc(centre, Math.max(radius_m, 0.1))
  polygon.setCoordinates(rings.map((ring) => ring.map((at) => transform(at, 'EPSG:4326', 'EPSG:3857'))))
  polygon.setProperties({ centre, radius_m })
  return polygon
}

/** Lets somebody draw one shape. `grows` hears its hectares while it is drawn. The answer ends the drawing. */
export function drawOn(map: Map, shape: Shape, done: (drawn: Drawn) => void, grows: (hectares: number) => void) {
  const draw = new Draw({
    type: shape === 'circle' ? 'Circle' : 'Polygon',
    ...(shape === 'circle' ? { geometryFunction: groundCircle } : {}),
    style: sketch,
  })
  draw.on('drawstart', ({ feature }) => {
    feature.getGeometry()?.on('change', ({ target }) => grows(getArea(target as Polygon) / 10_000))
  })
  draw.on('drawend', ({ feature }) => {
    const polygon = feature.getGeometry() as Polygon
    const { centre, radius_m } = polygon.getProperties()
    const ring = (polygon.getCoordinates()[0] ?? []).map(lonLat)
    setTimeout(() => done(centre ? { centre, radius_m } : { ring })) // after the click that ended it
  })
  map.addInteraction(draw)
  return () => void map.removeInteraction(draw)
}

/** Lets somebody drag the corners of the polygon that a source holds. */
export function modifyOn(map: Map, source: VectorSource, done: (ring: Position[]) => void) {
  const modify = new Modify({ source, style: sketch })
  modify.on('modifyend', ({ features }) => {
    const polygon = features.item(0)?.getGeometry() as Polygon | undefined
    if (polygon) done((polygon.getCoordinates()[0] ?? []).map(lonLat))
  })
  map.addInteraction(modify)
  return () => void map.removeInteraction(modify)
}
