import { strings } from '../strings'

export function Decisions() {
  const { decisions: say } = strings.about
  return (
    <ol className="decisions">
      {say.list.map(({ title, why, price }) => (
        <li key={title}>
          <h2>{title}</h2>
          <p>{why}</p>
          <p className="price">
            <strong>{say.price}</strong> {price}
          </p>
        </li>
      ))}
    </ol>
  )
}
