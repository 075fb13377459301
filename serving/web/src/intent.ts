import { newKey } from './api/calls'
import type { Inputs } from './api/types'
import { remember, remembered } from './store'

// One wish for one map has one key, until the service has said yes: pressing twice, a lost answer, a reload or a new
// sign-in in between cannot make two jobs of it.

interface Intent {
  inputs: string
  key: string
}
const KEY = 'geocrop.intent'
let current = remembered<Intent>(KEY)

export function keyOf(inputs: Inputs): string {
  const text = JSON.stringify(inputs)
  if (current?.inputs !== text) keep({ inputs: text, key: newKey() })
  return current!.key
}

export const fulfilled = () => keep(null)

function keep(intent: Intent | null): void {
  current = intent
  remember(KEY, intent)
}
