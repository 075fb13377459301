import Feature from 'ol/Feature'
import GeoJSON from 'ol/format/GeoJSON'
import Point from 'ol/geom/Point'
import Polygon, { fromExtent } from 'ol/geom/Polygon'
import Graticule from 'ol/layer/Graticule'
import TileLayer from 'ol/layer/Tile'
import VectorLayer from 'ol/layer/Vector'
import OlMap from 'ol/Map'
import { Attribution, ScaleLine, Zoom } from 'ol/control'
import { containsExtent, getWidth } from 'ol/extent'
import { unByKey } from 'ol/Observable'
import { fromLonLat, getPointResolution } from 'ol/proj'
import { getRenderPixel } from 'ol/render'
import type RenderEvent from 'ol/render/Event'
import VectorSource from 'ol/source/Vector'
import XYZ from 'ol/source/XYZ'
import type { Style } from 'ol/style'
import View from 'ol/View'
import type { BBox, Limits, Position } from '../api/types'
import { strings } from '../strings'
import { type Drawn, drawOn, lonLat, modifyOn, type Shape } from './draw'
import * as styles from './style'
import { extentOf, openLayer, ownLayer, show, type Tiles } from './tiles'

const MARGIN_PX = 48 // around what is fitted into the map
const FADE_MS = 700
const ROOM_FOR_LABELS_PX = 640
const GRID_DEGREES = [45, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001]
const still = matchMedia('(prefers-reduced-motion: reduce)')

let lastView: View | null = null // a reader who comes back finds the map where it was left

const degrees = (letters: string) => (value: number) =>
  `${Number(Math.abs(value).toFixed(4))}° ${value < 0 ? letters[1] : letters[0]}`

const drawn = (style: Style | Style[]) =>
  new VectorLayer({ source: new VectorSource(), style, updateWhileAnimating: true, updateWhileInteracting: true })

/** The map without React: layers from bottom to top, and what can be done with them. */
export class CropMap {
  readonly #map: OlMap
  readonly #baseline = openLayer('layer-baseline')
  readonly #prediction = ownLayer('layer-prediction')
  readonly #boundary = drawn(styles.boundary)
  readonly #footprint = drawn(styles.footprint)
  readonly #area = drawn(styles.outline)
  readonly #marker = drawn(styles.marker)
  #swipe: number | null = null
  #opacity = 1
  #fade = 0

  constructor(target: HTMLElement, limits: Limits, covered: number) {
    this.#map = new OlMap({
      target,
      controls: [
        new Zoom({ zoomInTipLabel: strings.map.zoomIn, zoomOutTipLabel: strings.map.zoomOut }),
        new ScaleLine({ minWidth: 90 }),
        ...(limits.basemap ? [new Attribution({ collapsible: false })] : []),
      ],
      layers: [
        ...(limits.basemap ? [basemap(limits.basemap)] : []),
        this.#baseline,
        this.#prediction,
        this.#boundary,
        this.#footprint,
        this.#area,
        this.#marker,
      ],
      view: lastView ?? new View({ center: fromLonLat(limits.centre), zoom: 13, minZoom: 3, maxZoom: 19 }),
    })
    if (!limits.boundary) this.#footprint.getSource()?.addFeature(new Feature(fromExtent(extentOf(limits.bbox))))
    this.#prediction.on('prerender', (event) => this.#clip(event))
    this.#prediction.on('postrender', ({ context }) => (context as CanvasRenderingContext2D).restore())
    this.#map.once('rendercomplete', () => this.#addGraticule()) // after the tiles: they are what one waits for
    this.cover(covered)
    if (!lastView) this.fit(limits.bbox, false)
    lastView = this.#map.getView()
  }

  #addGraticule(): void {
    const layers = this.#map.getLayers()
    const [width = 0] = this.#map.getSize() ?? []
    layers.insertAt(layers.getArray().indexOf(this.#boundary), graticule(width > ROOM_FOR_LABELS_PX))
  }

  dispose(): void {
    cancelAnimationFrame(this.#fade)
    this.#map.setTarget(undefined)
    this.#map.dispose()
  }

  /** Room that something else covers, at the bottom, in CSS pixels. */
  cover(bottom: number): void {
    this.#map.getView().padding = [0, 0, bottom, 0]
  }

  fit(bbox: BBox, smooth = true): void {
    const view = this.#map.getView()
    const margin = Math.min(MARGIN_PX, Math.min(...(this.#map.getSize() ?? [600])) / 12)
    const padding = [margin, margin, margin, margin]
    view.fit(extentOf(bbox), { padding, maxZoom: 17, duration: smooth && !still.matches ? 400 : 0 })
  }

  get centre(): Position {
    return lonLat(this.#map.getView().getCenter() ?? [0, 0])
  }

  /** A disc that fills most of what is in sight; its radius in metres. */
  inView(): { centre: Position; radius_m: number } {
    const [width = 0, height = 0] = this.#map.getSize() ?? []
    const [, , bottom = 0] = this.#map.getView().padding ?? []
    const perPixel_m = getPointResolution('EPSG:3857', this.#map.getView().getResolution() ?? 1, this.#map.getView().getCenter() ?? [0, 0])
    return { centre: this.centre, radius_m: 0.4 * Math.min(width, height - bottom) * perPixel_m }
  }

  showBaseline(tiles: Tiles | null): void {
    show(this.#baseline, tiles)
  }

  /** The prediction; the first of a job fades in as soon as a tile of it is there. */
  showPrediction(tiles: Tiles | null): void {
    const first = tiles !== null && !this.#prediction.getVisible()
    show(this.#prediction, tiles)
    if (!first || still.matches) return
    this.#prediction.setOpacity(0)
    this.#prediction.getSource()?.once('tileloadend', () => this.#fadeIn())
  }

  #fadeIn(): void {
    const begin = performance.now()
    const step = (now: number) => {
      const part = Math.min(1, Math.max(0, now - begin) / FADE_MS)
      this.#prediction.setOpacity(this.#opacity * part * (2 - part))
      if (part < 1) this.#fade = requestAnimationFrame(step)
    }
    step(begin)
  }

  setOpacity(opacity: number): void {
    cancelAnimationFrame(this.#fade)
    this.#opacity = opacity
    this.#prediction.setOpacity(opacity)
  }

  /** Where the baseline ends and the prediction begins, 0-1 of the width; null: the prediction is everywhere. */
  setSwipe(part: number | null): void {
    this.#swipe = part
    this.#map.render()
  }

  #clip(event: RenderEvent): void {
    const context = event.context as CanvasRenderingContext2D
    const [width = 0, height = 0] = this.#map.getSize() ?? []
    context.save()
    if (this.#swipe === null) return
    const left = width * this.#swipe
    context.beginPath()
    for (const corner of [[left, 0], [left, height], [width, height], [width, 0]]) {
      const [x = 0, y = 0] = getRenderPixel(event, corner)
      context.lineTo(x, y)
    }
    context.closePath()
    context.clip()
  }

  showBoundary(outline: object): void {
    const features = new GeoJSON({ featureProjection: 'EPSG:3857' }).readFeatures(outline)
    this.#boundary.getSource()?.addFeatures(features)
  }

  showArea(rings: Position[][] | null): void {
    const source = this.#area.getSource()
    source?.clear()
    if (!rings) return
    source?.addFeature(new Feature(new Polygon(rings.map((ring) => ring.map((at) => fromLonLat(at))))))
  }

  /** Moves to an area that is not in sight as a whole, or too small to be seen. */
  reveal(bbox: BBox): void {
    const view = this.#map.getView()
    const inSight = view.calculateExtent()
    const area = extentOf(bbox)
    const tiny = getWidth(area) < getWidth(inSight) / 40
    if (tiny || !containsExtent(inSight, area)) this.fit(bbox)
  }

  mark(at: Position | null): void {
    const source = this.#marker.getSource()
    source?.clear()
    if (at) source?.addFeature(new Feature(new Point(fromLonLat(at))))
  }

  draw(shape: Shape, done: (drawn: Drawn) => void, grows: (hectares: number) => void): () => void {
    this.#area.setVisible(false) // the old outline would be in the way
    const stop = drawOn(this.#map, shape, done, grows)
    return () => {
      stop()
      this.#area.setVisible(true)
    }
  }

  modify(done: (ring: Position[]) => void): () => void {
    const source = this.#area.getSource()
    return source ? modifyOn(this.#map, source, done) : () => {}
  }

  onClick(listener: (at: Position) => void): () => void {
    const key = this.#map.on('singleclick', ({ coordinate }) => listener(lonLat(coordinate)))
    return () => unByKey(key)
  }

  /** Asks again for the tiles that failed while the service was away. */
  refresh(): void {
    this.#baseline.getSource()?.refresh()
    this.#prediction.getSource()?.refresh()
  }
}

function basemap({ tiles, credit }: NonNullable<Limits['basemap']>): TileLayer {
  return new TileLayer({ className: 'layer-basemap', source: new XYZ({ url: tiles, attributions: credit }) })
}

function graticule(showLabels: boolean): Graticule {
  return new Graticule({
    strokeStyle: styles.gridLine,
    intervals: GRID_DEGREES,
    targetSize: 160,
    showLabels,
    wrapX: false,
    lonLabelFormatter: degrees('EW'),
    latLabelFormatter: degrees('NS'),
    lonLabelPosition: 1,
    latLabelPosition: 0,
    lonLabelStyle: styles.gridLabel('top'),
    latLabelStyle: styles.gridLabel('left'),
  })
}
