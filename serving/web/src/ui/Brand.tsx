/** Fields from above; the same drawing as public/icon.svg. */
export function Brand() {
  return (
    <svg viewBox="0 0 32 32" className="brand-mark" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="#17573a" />
      <path d="M7 7h8v8H7z" fill="#e8b92f" />
      <path d="M17 7h8v4h-8z" fill="#8fc14c" />
      <path d="M17 13h8v12h-8z" fill="#cfe6c3" />
      <path d="M7 17h8v8H7z" fill="#5fa463" />
    </svg>
  )
}
