import { createStore, remember, remembered } from '../store'
import type { Role } from './types'

export interface Session {
  token: string
  name: string
  role: Role
}
/** Whether the sign-in dialog is open, and why. */
export type Asking = 'no' | 'wanted' | 'expired'

const KEY = 'geocrop.session'

export const session = createStore<Session | null>(remembered<Session>(KEY))
export const asking = createStore<Asking>('no')
session.subscribe(() => remember(KEY, session.get()))

export class SignInCancelled extends Error {}

/** Opens the dialog; resolves when somebody has signed in, rejects when it is closed. */
export function signInWanted(why: 'wanted' | 'expired' = 'wanted'): Promise<void> {
  if (asking.get() === 'no') asking.set(why)
  return new Promise((resolve, reject) => {
    const forget = asking.subscribe(() => {
      forget()
      if (session.get()) resolve()
      else reject(new SignInCancelled())
    })
  })
}

/** A token was missing or refused: the person is asked, and who comes back goes on where it stopped. */
export async function renewed(refused: string | undefined): Promise<void> {
  const now = session.get()
  if (now && now.token !== refused) return
  session.set(null)
  await signInWanted(refused ? 'expired' : 'wanted')
}
