import type { ReactNode } from 'react'

/** A heading and what stands below it. */
export function Section({ title, text, children }: { title: string; text?: readonly string[]; children?: ReactNode }) {
  return (
    <section className="about-section">
      <h2>{title}</h2>
      {text?.map((paragraph) => (
        <p key={paragraph}>{paragraph}</p>
      ))}
      {children}
    </section>
  )
}

/** Something wide, with words below it: it scrolls in itself, the page does not. */
export function Wide({ label, caption, children }: { label: string; caption?: string; children: ReactNode }) {
  return (
    <figure className="wide">
      <div className="wide-scroll" role="region" aria-label={label} tabIndex={0}>
        {children}
      </div>
      {caption && <figcaption>{caption}</figcaption>}
    </figure>
  )
}

interface TableProps {
  label: string
  head: readonly string[]
  rows: readonly (readonly ReactNode[])[]
}

/** A table whose first column names the row. */
export function Table({ label, head, rows }: TableProps) {
  return (
    <Wide label={label}>
      <table className="table">
        <thead>
          <tr>
            {head.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([first, ...rest], n) => (
            <tr key={n}>
              <th scope="row">{first}</th>
              {rest.map((cell, column) => (
                <td key={column}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  )
}
