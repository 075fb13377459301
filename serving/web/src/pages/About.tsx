export default function About({ page }: { page: string | null }) {
  return <div className="page">{page}</div>
}
