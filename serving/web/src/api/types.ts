// Shapes of the service's answers, as far as the page reads them.

export type Position = [lon: number, lat: number]
export type BBox = [west: number, south: number, east: number, north: number]
export interface Polygon {
  type: 'Polygon'
  coordinates: Position[][]
}
export type Aoi = [lon: number, lat: number, radius_m: number] | Polygon

export interface ClassRow {
  id: number
  name: string
  colour: string
}
export interface RampStop {
  value: number
  colour: string
}
export interface Legend {
  crop: ClassRow[]
  baseline: ClassRow[]
  confidence?: RampStop[]
}

export interface Limits {
  seasons: number[]
  baselines: number[]
  radius_m: { min: number; max: number }
  area_ha_max: number
  centre: Position
  bbox: BBox
  product: string
  version: string
  embedded: boolean
  /** Where the outline of the country is, if it is known. */
  boundary: string | null
  /** Tiles behind the map, if whoever runs the service has named some. */
  basemap: { tiles: string; credit: string } | null
}

export interface Baseline {
  year: number
  bbox: BBox
  tiles: string
  title: string
  source: string
}

export type Role = 'admin' | 'recruiter'
export interface Token {
  access_token: string
  expires_in: number
  role: Role
}
export interface Me {
  name: string
  role: Role
  jobs_used: number
  jobs_allowed: number | null
}

export interface Inputs {
  aoi: Aoi
  year: number
  model: string
}
export interface Quote {
  hectares: number
  pixels: number
  seconds: { low: number; high: number }
  expected_clear_days: number | null
  scenes: number
  gigabytes: number
  ahead: number
  seconds_until_start: number | null
}

/** problem+json; `remedy` says what to do. */
export interface Problem {
  type?: string
  title?: string
  status?: number
  detail?: string
  remedy?: string
}

export type Status = 'accepted' | 'running' | 'successful' | 'failed' | 'dismissed'
export interface Job {
  jobID: string
  status: Status
  progress: number
  message: string
  created: string
  started?: string | null
  finished?: string | null
  updated: string
  inputs: Inputs
  area: Polygon
  attempt: number
  model: { name: string; version: string }
  problem?: Problem | null
}
export interface JobPage {
  jobs: Job[]
  links: { rel: string; href: string }[]
}

export interface Link {
  href: string
  type: string
}
export interface Survey {
  units: number
  overall: { value: number; low: number; high: number }
  classes: { class: string; ha: number; low: number; high: number }[]
}
export interface Summary {
  hectares_counted: Record<string, number>
  hectares_without_class: number
  hectares_like_training: number | null
  mean_confidence_pct: number | null
  median_clear_days: number | null
  warnings: string[]
  survey?: Survey | { refused: string }
}
export type Mode = 'class' | 'confidence'
export interface Results {
  map: Link
  item: Link
  statistics: Link
  style?: Link | null
  tiles: Record<Mode, string>
  bbox: BBox
  legend: ClassRow[]
  summary: Summary
}

export interface PixelAnswer {
  class: ClassRow | null
  confidence: number | null
  margin: number | null
  clear_days: number | null
  applicable: boolean | null
}
export interface Curve {
  dates: string[]
  ndvi: (number | null)[]
  clear: boolean[]
}

export interface Service {
  state: string
  since?: string | null
  /** Time in which it answered. */
  ms?: number
  /** Workers that were heard of within their lease. */
  alive?: number
}
export interface System {
  services: Record<string, Service>
  degraded: boolean
}
