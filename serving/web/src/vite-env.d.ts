import 'react'

declare module 'react' {
  interface CSSProperties {
    '--at'?: string
    '--covered'?: string
  }
}
