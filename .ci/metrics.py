"""What a change does to the scores, as markdown for its pull request.

    dvc metrics diff --json BASE | python .ci/metrics.py

Reads DVC's JSON; numbers that did not change are not told. A score of which DVC knows only one side is told as
new or gone.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

MOST = 60  # lines; a comment is read by people
HIGHER_IS_WORSE = ("ece", "brier", "log_loss", "leakage", "gap")  # in the last part of a name
MARK = "<!-- geocrop metrics -->"  # by which the comment is found again


def changes(page: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    "Name, before and after of each number that changed."
    for path, numbers in sorted(page.get("diff", page).items()):
        for name, sides in sorted(numbers.items()):
            before, after = sides.get("old"), sides.get("new")
            if before != after:
                yield f"{path}: {name}", before, after


def shown(value: Any) -> str:
    "A number in four digits, as a table holds it; anything else without what would end a cell."
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)[:40].replace("|", "\\|").replace("\n", " ")


def verdict(name: str, before: Any, after: Any) -> str:
    "In a word."
    if before is None or after is None:
        return "new" if before is None else "gone"
    if not (isinstance(before, int | float) and isinstance(after, int | float)):
        return "other"
    last = name.rsplit(".", 1)[-1]
    worse = (after > before) == any(part in last for part in HIGHER_IS_WORSE)
    return f"{after - before:+.4g} {'worse' if worse else 'better'}"


def markdown(page: dict[str, Any]) -> str:
    "The comment."
    found = list(changes(page))
    head = [MARK, "### Scores"]
    if not found:
        return "\n\n".join([*head, "No score changes."]) + "\n"
    rows = [f"| {name.replace('|', '/')} | {shown(a)} | {shown(b)} | {verdict(name, a, b)} |" for name, a, b in found]
    table = ["| score | before | after | change |", "|---|---:|---:|---|", *rows[:MOST]]
    more = [f"… and {len(rows) - MOST} more."] if len(rows) > MOST else []
    return "\n\n".join([*head, f"{len(rows)} scores change.", "\n".join(table), *more]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown(json.load(sys.stdin)))
