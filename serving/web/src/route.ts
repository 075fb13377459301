import { useSyncExternalStore } from 'react'

/** Where the reader is: the part of the address behind '#/', in pieces. The map is home. */
export function useRoute(): string[] {
  const hash = useSyncExternalStore(subscribe, () => location.hash)
  const pieces = hash.replace(/^#\/?/, '').split('/').filter(Boolean)
  return pieces.length ? pieces.map(decodeURIComponent) : ['map']
}

function subscribe(listener: () => void): () => void {
  addEventListener('hashchange', listener)
  return () => removeEventListener('hashchange', listener)
}

export function go(path: string): void {
  location.hash = `#/${path}`
}
