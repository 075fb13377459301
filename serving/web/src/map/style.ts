import { Circle, Fill, Stroke, Style, Text } from 'ol/style'

const INK = '#12241b'
const PAPER = '#ffffff'
const FONT = '500 11px "Inter Variable", system-ui, sans-serif'

// A dark line on a white one is seen on any class colour.
const halo = (width: number) => new Style({ stroke: new Stroke({ color: PAPER, width: width + 3, lineJoin: 'round' }) })
const line = (width: number) => new Style({ stroke: new Stroke({ color: INK, width, lineJoin: 'round' }) })

export const outline = [halo(2), line(2)]
export const footprint = new Style({ stroke: new Stroke({ color: '#5b6b62', width: 1.25, lineDash: [6, 5] }) })
export const boundary = new Style({ stroke: new Stroke({ color: '#7c8a82', width: 1.5 }) })

export const sketch = [
  ...outline,
  new Style({ fill: new Fill({ color: 'rgba(255, 255, 255, 0.25)' }) }),
  new Style({
    image: new Circle({
      radius: 6,
      fill: new Fill({ color: PAPER }),
      stroke: new Stroke({ color: INK, width: 2.5 }),
    }),
  }),
]

export const marker = [
  new Style({ image: new Circle({ radius: 9, stroke: new Stroke({ color: PAPER, width: 5 }) }) }),
  new Style({ image: new Circle({ radius: 9, stroke: new Stroke({ color: INK, width: 2.5 }) }) }),
  new Style({ image: new Circle({ radius: 2, fill: new Fill({ color: INK }) }) }),
]

export const gridLine = new Stroke({ color: 'rgba(63, 84, 72, 0.16)', width: 1 })
export const gridLabel = (side: 'top' | 'left') =>
  new Text({
    font: FONT,
    fill: new Fill({ color: '#55635b' }),
    stroke: new Stroke({ color: 'rgba(244, 246, 242, 0.9)', width: 3 }),
    textAlign: side === 'left' ? 'start' : 'center',
    textBaseline: side === 'left' ? 'middle' : 'top',
    offsetX: side === 'left' ? 6 : 0,
    offsetY: side === 'left' ? 0 : 6,
  })
