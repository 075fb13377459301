"""Interleaved timing, and the two tables that come out of it: what each contender took, and which bars are met."""

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import numpy as np

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "GDAL_NUM_THREADS")


def single_thread() -> None:
    "Start this program again with every library told to use one thread; they read it when they are imported."
    if any(os.environ.get(name) != "1" for name in THREADS):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | dict.fromkeys(THREADS, "1"))  # noqa: S606  (no shell)


# --- timing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contender:
    "One way to do a piece of work."

    name: str
    run: Callable[[], float]  # Does the work once; seconds
    units: float = 1  # Pieces of work in one run (pixels, ...): seconds are divided by it
    does: str = ""  # What it does, and what it leaves out


Times = dict[str, list[float]]  # name -> seconds per unit, one value for each round


def touch(size: int) -> None:
    """Write to so many bytes of new memory, and give them back.

    A virtual machine takes pages from its host when they are first written to, which can take longer than the work
    that is timed. This hits whoever comes first, unless it is done before.
    """
    np.ones(size, np.uint8)


def clocked(
    work: Callable[[], object],  # Its result is dropped after the clock stopped
    clock: Callable[[], float],
    repeat: int = 1,  # Times in a row, for work too short to be timed alone
    memory: int = 0,  # Bytes of new memory that it will ask for
) -> Callable[[], float]:  # Runs once, gives the seconds of one repetition
    def run() -> float:
        gc.collect()
        touch(memory)
        start = clock()
        for _ in range(repeat):
            result = work()
        seconds = (clock() - start) / repeat
        del result
        return seconds

    return run


def cpu(work: Callable[[], object], repeat: int = 1, memory: int = 0) -> Callable[[], float]:
    "CPU seconds of this process, all of its threads."
    return clocked(work, time.process_time, repeat, memory)


def wall(work: Callable[[], object], memory: int = 0) -> Callable[[], float]:
    return clocked(work, time.perf_counter, memory=memory)


def interleave(
    contenders: Sequence[Contender],
    rounds: int,  # In each, every contender runs once; the first one to run changes
    warm_up: bool = True,  # One round more before, not counted: compilers, caches
) -> Times:
    "Time all contenders in turns, so that whatever slows the machine down for a while hits all of them."
    times: Times = {contender.name: [] for contender in contenders}
    for turn in range(-1 if warm_up else 0, rounds):
        first = max(turn, 0) % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            seconds = contender.run() / contender.units
            if turn >= 0:
                times[contender.name].append(seconds)
        tell(f"round {turn + 1} of {rounds}" if turn >= 0 else "warm-up")
    return times


# --- bars ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bar:
    "A claim, what was found, and what has to be."

    claim: str
    found: float | None  # None where it could not be measured: not met
    limit: float
    at_least: bool = False  # Otherwise at most
    low: float | None = None  # Spread over the rounds
    high: float | None = None
    unit: str = "x"

    @property
    def met(self) -> bool:
        if self.found is None:
            return False
        return self.found >= self.limit if self.at_least else self.found <= self.limit


def ratio(
    claim: str,
    above: str,  # Name of the contender whose time is divided ...
    below: str,  # ... by the time of this one, round by round
    times: Times,
    limit: float,
    at_least: bool = False,
) -> Bar:
    "The median of the ratios within the rounds, and their spread."
    if above not in times or below not in times:
        return Bar(claim, None, limit, at_least)
    ratios = [a / b for a, b in zip(times[above], times[below], strict=True)]
    return Bar(claim, statistics.median(ratios), limit, at_least, min(ratios), max(ratios))


# --- tables ----------------------------------------------------------------------------------------------------------


def tell(text: str) -> None:
    "What goes on, apart from the tables."
    print(text, file=sys.stderr, flush=True)


def digits(value: float | None) -> str:
    "Three significant digits, whole numbers as they are."
    if value is None:
        return "not measured"
    return f"{value:.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    "Columns of text, aligned; also Markdown."
    rows = [list(head), ["-" * len(name) for name in head], *map(list, rows)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    )


def table_of_times(
    contenders: Sequence[Contender],
    times: Times,
    ours: str,  # Name of the contender that the others are compared with
    scale: float = 1,  # Of the seconds: 1e6 for microseconds
    unit: str = "s",
) -> str:
    rows = []
    for contender in contenders:
        taken = [scale * seconds for seconds in times[contender.name]]
        times_ours = statistics.median(a / b for a, b in zip(times[contender.name], times[ours], strict=True))
        spread = f"{digits(min(taken))} - {digits(max(taken))}"
        rows.append(
            [contender.name, digits(statistics.median(taken)), spread, f"{digits(times_ours)}x", contender.does]
        )
    return table(["contender", f"median {unit}", "min - max", "of ours", "what it does"], rows)


def table_of_bars(bars: Sequence[Bar]) -> str:
    rows = []
    for bar in bars:
        unit = "" if bar.found is None else bar.unit
        spread = "" if bar.low is None else f"{digits(bar.low)} - {digits(bar.high)}"
        limit = f"{'>=' if bar.at_least else '<='} {digits(bar.limit)}{bar.unit}"
        rows.append([bar.claim, f"{digits(bar.found)}{unit}", spread, limit, "pass" if bar.met else "FAIL"])
    return table(["claim", "median", "min - max", "bar", ""], rows)


def arguments(doc: str | None, parts: Sequence[str], default: Sequence[str], rounds: int) -> argparse.Namespace:
    "The command line of a script that measures an archive of COGs, in parts."
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=parts, default=default, help=f"default: {' '.join(default)}")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--size", type=int, default=2048, help="side of the archive in pixels of 10 m, whole tiles")
    parser.add_argument("--dates", type=int, default=50)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "geocrop-bench")
    parser.add_argument("--long", action="store_true", help="memory also at 8192 px")
    parser.add_argument("--json", type=Path, help="write everything there")
    return parser.parse_args()


def machine(*packages: str) -> str:
    "Processor, cores, and the versions of what was compared."
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    model = models[0].split(":", 1)[1].strip() if models else platform.processor()
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{model}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}"


def finish(bars: Sequence[Bar], path: Path | None, **told: object) -> NoReturn:
    "Print the bars, write everything as JSON if asked for, leave with 1 where a bar is not met."
    if bars:
        print("\n" + table_of_bars(bars))
    if path:
        content: Mapping[str, object] = told | {"bars": [asdict(bar) | {"met": bar.met} for bar in bars]}
        path.write_text(json.dumps(content, indent=1) + "\n")
    sys.exit(0 if all(bar.met for bar in bars) else 1)
