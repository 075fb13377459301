"One line of the table that `make platform-check` prints, and the table."

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    "What was looked at, and what was found."

    kind: str  # What: manifests of an overlay, rules, pipelines
    count: int  # How many of them; none is a problem, since a check of nothing finds nothing
    checks: str  # By what they were checked
    problems: list[str]  # What is wrong, each with the file or object it is wrong in
    skipped: list[str]  # What could not be checked, and why; it fails like a problem

    @property
    def good(self) -> bool:
        return bool(self.count) and not self.problems and not self.skipped


HEAD = ("kind", "count", "checks", "problems", "skipped")


def shown(rows: Iterable[Row]) -> str:
    "The table, and below it every problem and everything skipped."
    rows = list(rows)
    lines = [HEAD] + [
        (r.kind, str(r.count), r.checks, str(len(r.problems) or "none"), str(len(r.skipped) or "none")) for r in rows
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    out = ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    out.insert(1, "  ".join("-" * width for width in widths))
    for row in rows:
        out += [f"PROBLEM {row.kind}: {text}" for text in row.problems]
        out += [f"SKIPPED {row.kind}: {text}" for text in row.skipped]
        if not row.count:
            out.append(f"PROBLEM {row.kind}: found none to check; expected at least one")
    return "\n".join(out)
