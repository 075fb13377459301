// Numbers, times and names as people read them. English, as everything else (see strings.ts).

const whole = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 })
const oneDecimal = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 1, minimumFractionDigits: 1 })
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' })
const moment = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' })

export const integer = (value: number) => whole.format(value)
export const decimal = (value: number) => oneDecimal.format(value)

/** Hectares: one decimal below 100, none above. */
export const hectares = (value: number) => `${amount(value)} ha`
export const amount = (value: number) => (Math.abs(value) < 99.95 ? decimal(value) : integer(value))

export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`
  return `${decimal(seconds / 3600)} h`
}

export const date = (iso: string) => day.format(new Date(iso))
export const when = (iso: string) => moment.format(new Date(iso))
export const degrees = (value: number) => value.toFixed(5)

/** natural_vegetation -> Natural vegetation */
export function title(name: string): string {
  const words = name.replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}
export const plain = (name: string) => name.replaceAll('_', ' ')

/** A season is named by the year in which it starts. */
export const season = (year: number) => `${year}/${String((year + 1) % 100).padStart(2, '0')}`
