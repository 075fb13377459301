import type ImageTile from 'ol/ImageTile'
import TileLayer from 'ol/layer/Tile'
import { transformExtent } from 'ol/proj'
import XYZ, { type Options as XyzOptions } from 'ol/source/XYZ'
import TileState from 'ol/TileState'
import type Tile from 'ol/Tile'
import { pathOf, send } from '../api/client'
import { restored } from '../api/connection'
import type { BBox } from '../api/types'

/** Where tiles are, with {z}, {x} and {y}, and what they cover. */
export interface Tiles {
  url: string
  bbox: BBox
}

export const extentOf = (bbox: BBox) => transformExtent(bbox, 'EPSG:4326', 'EPSG:3857')

/** A layer of classes: never blended with its neighbours (interpolate), on a canvas of its own (className). */
function classLayer(className: string, options: XyzOptions): TileLayer<XYZ> {
  const source = new XYZ({ interpolate: false, transition: 0, wrapX: false, ...options })
  source.on('tileloaderror', () => void restored()) // looks whether the service is there
  return new TileLayer({ className, source, visible: false })
}

export const openLayer = (className: string) => classLayer(className, {})

/** Tiles that only their owner may see: an <img> cannot send the token. */
export const ownLayer = (className: string) =>
  classLayer(className, { tileLoadFunction: (tile, src) => void load(tile, src) })

/** Shows other tiles in a layer; those that are there stay until the new ones have come. Null hides it. */
export function show(layer: TileLayer<XYZ>, tiles: Tiles | null): void {
  layer.setVisible(tiles !== null)
  if (!tiles) return
  layer.setExtent(extentOf(tiles.bbox))
  layer.getSource()?.setUrl(decodeURI(pathOf(tiles.url)))
}

async function load(tile: Tile, src: string): Promise<void> {
  const image = (tile as ImageTile).getImage() as HTMLImageElement
  try {
    const picture = await (await send(src)).blob()
    if (!picture.size) return tile.setState(TileState.EMPTY)
    const url = URL.createObjectURL(picture)
    image.addEventListener('load', () => URL.revokeObjectURL(url), { once: true })
    image.src = url
  } catch {
    tile.setState(TileState.ERROR)
  }
}
