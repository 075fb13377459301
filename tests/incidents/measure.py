"""How often triage says what is wrong, without a model: the table of README.md.

python tests/incidents/measure.py

Of each cause some breaks were seen while signatures were written, the others were not (break.py deals them out by
chance). Only the second number says anything about the next failure. Intervals: 95 %, Wilson (1927,
doi:10.1080/01621459.1927.10502953).
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import binomtest

from geocrop.incidents import CLASSES, classify, findings, log

HERE = Path(__file__).parent
HALVES = ("developed", "held out")


@dataclass(frozen=True)
class Case:
    "A failure, what it is, and what triage says."

    name: str
    half: str
    label: str
    cause: str
    said_label: str
    said: tuple[str, ...]  # Causes, the first one first


def cases() -> Iterator[Case]:
    "All of them."
    for name, row in json.loads((HERE / "labels.json").read_text()).items():
        printed = [log(name, (HERE / "logs" / f"{name}.log").read_text())]
        found = findings(printed)
        said = tuple(finding.signature.name for finding in found)
        yield Case(name, row["half"], row["class"], row["cause"], classify(printed, found), said)


ROWS: dict[str, Callable[[Case], bool]] = {
    "class": lambda case: case.said_label == case.label,
    "cause, named first": lambda case: case.said[:1] == (case.cause,),
    "cause, among those named": lambda case: case.cause in case.said,
}


def _share(right: int, of: int) -> str:
    low, high = binomtest(right, of).proportion_ci(method="wilson")
    return f"{right} of {of}, {right / of:.0%} ({low:.0%} to {high:.0%})"


def table() -> str:
    "Markdown: what was right, in both halves; then class by class."
    every = list(cases())
    lines = ["| right | developed on | held out |", "|---|---|---|"]
    for row, right in ROWS.items():
        shares = [[right(case) for case in every if case.half == half] for half in HALVES]
        lines.append(f"| {row} | {' | '.join(_share(sum(part), len(part)) for part in shares)} |")
    lines += ["", "| held out | logs | class right | cause first |", "|---|--:|--:|--:|"]
    for label in CLASSES:
        part = [case for case in every if case.half == "held out" and case.label == label]
        counts = [sum(ROWS[row](case) for case in part) for row in ("class", "cause, named first")]
        lines.append(f"| {label} | {len(part)} | {counts[0]} | {counts[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
    for case in cases():
        if case.half == "developed" and not (ROWS["class"](case) and ROWS["cause, named first"](case)):
            print(
                f"{case.name}: {case.label}, {case.cause}; said {case.said_label}, {', '.join(case.said) or 'nothing'}"
            )
