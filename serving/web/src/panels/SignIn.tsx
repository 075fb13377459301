import { type SubmitEvent, useEffect, useRef, useState } from 'react'
import { signIn } from '../api/calls'
import { ApiError } from '../api/client'
import { asking, session } from '../api/session'
import { useStore } from '../store'
import { strings } from '../strings'
import { ErrorNote, Note } from '../ui/Notes'

let lastName = session.get()?.name ?? ''

export function SignIn() {
  const why = useStore(asking)
  const dialog = useRef<HTMLDialogElement>(null)

  useEffect(() => {
    if (why === 'no') dialog.current?.close()
    else if (!dialog.current?.open) {
      dialog.current?.showModal()
      dialog.current?.querySelector<HTMLInputElement>(lastName ? '[name=password]' : '[name=name]')?.focus()
    }
  }, [why])

  return (
    <dialog ref={dialog} className="dialog" aria-labelledby="sign-in" onClose={() => asking.set('no')}>
      {why !== 'no' && <Form expired={why === 'expired'} />}
    </dialog>
  )
}

function Form({ expired }: { expired: boolean }) {
  const { account, close } = strings
  const [error, setError] = useState<unknown>(null)
  const [waiting, setWaiting] = useState(false)

  async function submit(event: SubmitEvent<HTMLFormElement>) {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    lastName = String(form.get('name')).trim()
    setWaiting(true)
    setError(null)
    try {
      await signIn(lastName, String(form.get('password')))
    } catch (failure) {
      setError(failure)
      setWaiting(false)
    }
  }

  const wrong = error instanceof ApiError && error.status === 401
  return (
    <form onSubmit={submit} className="stack">
      <h2 id="sign-in">{account.title}</h2>
      <p className="muted">{expired ? account.expired : account.wanted}</p>
      <label className="field">
        <span>{account.name}</span>
        <input
          name="name"
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          defaultValue={lastName}
          required
        />
      </label>
      <label className="field">
        <span>{account.password}</span>
        <input name="password" type="password" autoComplete="current-password" required />
      </label>
      {wrong ? <Note tone="error">{account.wrong}</Note> : <ErrorNote error={error} />}
      <div className="row">
        <button type="button" className="button" onClick={() => asking.set('no')}>
          {close}
        </button>
        <button type="submit" className="button button-primary" disabled={waiting}>
          {waiting ? account.waiting : account.signIn}
        </button>
      </div>
    </form>
  )
}
