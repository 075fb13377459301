import { useMe } from '../api/account'
import { asking, session } from '../api/session'
import { strings } from '../strings'
import { useStore } from '../store'
import { Brand } from '../ui/Brand'
import { UserIcon } from '../ui/icons'

export function Header({ place }: { place: string | undefined }) {
  const { nav, product } = strings
  const links = [
    ['map', nav.map],
    ['jobs', nav.jobs],
    ['about', nav.about],
  ] as const
  return (
    <header className="header">
      <a className="brand" href="#/map">
        <Brand />
        <span>{product}</span>
      </a>
      <nav aria-label={nav.label}>
        {links.map(([path, name]) => (
          <a key={path} href={`#/${path}`} aria-current={place === path ? 'page' : undefined}>
            {name}
          </a>
        ))}
      </nav>
      <Account />
    </header>
  )
}

function Account() {
  const current = useStore(session)
  const me = useMe()
  const { account } = strings
  if (!current) {
    return (
      <button type="button" className="button button-primary button-small" onClick={() => asking.set('wanted')}>
        {account.signIn}
      </button>
    )
  }
  return (
    <div className="account">
      <button type="button" className="button button-quiet" popoverTarget="account">
        <UserIcon />
        <span className="visually-hidden">{account.label}</span>
        <span className="account-name">{current.name}</span>
      </button>
      <div id="account" popover="auto" className="account-card">
        <p className="account-title">{current.name}</p>
        <p className="muted">{account.roles[current.role]}</p>
        {me && (
          <p className="account-used">
            {me.jobs_allowed === null
              ? account.unlimited(me.jobs_used)
              : account.used(me.jobs_used, me.jobs_allowed)}
          </p>
        )}
        <button type="button" className="button" onClick={() => session.set(null)}>
          {account.signOut}
        </button>
      </div>
    </div>
  )
}
