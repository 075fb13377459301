"""Season features: CPU time per pixel of ours and of others, in turns, on the same made-up season; and the first call.

.venv/bin/python bench/features.py [--rounds 7] [--pixels 230400] [--json out.json] [--without-guests]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import contenders
import numpy as np
import oracle
import ours
from rounds import (
    Bar,
    Contender,
    Times,
    cpu,
    finish,
    interleave,
    machine,
    ratio,
    single_thread,
    table,
    table_of_times,
    tell,
)
from season import Season, simulate

from geocrop.schema import FEATURE_ORDER_V1

HERE = Path(__file__).parent
GUESTS_PYTHON = HERE / ".venv/bin/python"
CHECKED = 128 * 128  # pixels compared with the oracle before anything is timed
FEW = 128 * 128  # pixels for those that take long; time is told per pixel
SECONDS = 0.4  # the fast ones run several times in a row, to be timed for about so long


# --- contenders in this process --------------------------------------------------------------------------------------

WHOLE, BLOCKS = "numpy float32", "numpy float32, blocks"

# name, function, whether it gets few pixels, what it does
HERE_TIMED = (
    ("geocrop", lambda season: ours.features(season.days, season.dn, season.scl), False, "all 51"),
    (
        WHOLE,
        partial(contenders.numpy_features, interpolate=contenders.nodes_one_by_one, block=None),
        False,
        "all 51; whole arrays, neighbours of each node fetched by number: the definition, vectorised",
    ),
    (
        BLOCKS,
        partial(contenders.numpy_features, interpolate=contenders.nodes_one_by_one, block=FEW),
        True,
        "all 51; the same code, given 16,384 pixels, about where it is fastest",
    ),
    (
        "numpy float32, tuned",
        contenders.numpy_features,
        False,
        "all 51; blocks of 2048 pixels that stay in the cache, clear values carried forward",
    ),
    ("xarray", contenders.xarray_features, True, "all 51; where, groupby, apply_ufunc(np.interp, savgol_filter)"),
    ("numba by pixel", contenders.numba_features, False, "all 51; a plain loop, float64"),
)


def checked(season: Season) -> dict[str, dict[str, float]]:
    "Differences of every contender from the oracle; stops where they are too large."
    part = season.sample(CHECKED)
    smooth = oracle.smoothed(oracle.season_nodes(part))
    return {name: oracle.check(name, work(part), smooth) for name, work, _, _ in HERE_TIMED}


def table_of_errors(errors: dict[str, dict[str, float]]) -> str:
    rows = [
        [name, f"{d['error']:.1e}", f"{d['error_auc']:.1e}", str(d["nan_mismatches"]), str(d["peak_mismatches"])]
        for name, d in errors.items()
    ]
    return table(["against the oracle", "largest error", "of auc", "NaN mismatches", "wrong peaks"], rows)


def timed_here(season: Season) -> list[Contender]:
    found = []
    for name, work, slow, does in HERE_TIMED:
        part = season.sample(FEW) if slow else season
        work(part)  # compile, before it is seen how often it has to run
        repeat = max(1, round(SECONDS / cpu(partial(work, part))()))
        memory = 4 * (3 * len(FEATURE_ORDER_V1) * part.pixels + 2 * part.dn.size)  # results, and space to work
        found.append(Contender(name, cpu(partial(work, part), repeat, memory), part.pixels, does))
    return found


# --- guests: a Python of their own -----------------------------------------------------------------------------------


@contextmanager
def guest(
    task: str,  # As guests.py calls it
    name: str,  # As the tables call it
    given: dict[str, np.ndarray],
    pixels: int,
    does: str,
) -> Iterator[tuple[Contender, Path]]:
    "A process that works when told to; and the file of what it computed."
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "given.npz", Path(folder) / "found.npy"
        np.savez(source, **given)
        command = [GUESTS_PYTHON, HERE / "guests.py", task, source, target]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin and process.stdout

            def run() -> float:
                process.stdin.write("again\n")
                process.stdin.flush()
                answer = process.stdout.readline()
                if not answer:
                    raise SystemExit(f"{name}: its process ended; what it said stands above.")
                return float(answer)

            yield Contender(name, run, pixels, does), target
            process.stdin.close()


def check_eolearn(found: np.ndarray, season: Season) -> float:
    "Largest difference at nodes between clear days, where no day counts twice (eo-learn takes their mean)."
    expected = oracle.season_nodes(season, min_clear=1)
    clear = np.isin(season.scl, (4, 5, 6, 7))
    twice = np.flatnonzero(np.diff(season.days) == 0)
    alike = ~(clear[twice] & clear[twice + 1]).any(0) & ~np.isnan(found).all((0, 1))
    difference = np.nanmax(np.abs(found - expected)[..., alike])
    assert np.isfinite(found[..., alike]).mean() > 0.8 and difference < 1e-5, f"eo-learn differs by {difference}"
    return float(difference)


def check_deafrica(found: np.ndarray, curves: np.ndarray) -> float:
    "Largest difference of amplitude and step of the peak."
    known = ~np.isnan(curves[0, 0])
    amplitude, step = found[:, 0][:, known], found[:, 1][:, known]
    v = curves[:, :, known]
    difference = max(np.abs(amplitude - (v.max(1) - v.min(1))).max(), np.abs(step - v.argmax(1)).max())
    assert difference < 1e-5, f"xr_phenology differs by {difference}"
    return float(difference)


def curves_of(season: Season) -> np.ndarray:
    "Smoothed ndvi, ndre, evi: what xr_phenology is given, shape (3, 28, y, x)."
    n_time = len(season.days)
    flat = contenders.numpy_curves(season.days, season.dn.reshape(n_time, 5, -1), season.scl.reshape(n_time, -1))
    return flat[:3].reshape(3, 28, *season.scl.shape[1:])


def invite(stack: ExitStack, season: Season) -> list[Contender]:
    "Both guests, ready to work and found right."
    if not GUESTS_PYTHON.exists():
        raise SystemExit("bench/.venv: found none; expected eo-learn and deafrica-tools there. Run: bench/setup.sh")
    few, curves = season.sample(FEW), curves_of(season)
    given = {"days": few.days, "dn": few.dn, "scl": few.scl}
    does = "not all: cloud mask, five indices, linear interpolation to 28 nodes"
    eolearn, found = stack.enter_context(guest("eolearn", "eo-learn", given, few.pixels, does))
    eolearn.run()
    tell(f"eo-learn differs by {check_eolearn(np.load(found), few):.1e} where both define the same")
    does = "not all: xr_phenology of three curves that are already cleaned and smoothed"
    deafrica, found = stack.enter_context(guest("deafrica", "xr_phenology", {"curves": curves}, season.pixels, does))
    deafrica.run()
    tell(f"xr_phenology differs by {check_deafrica(np.load(found), curves):.1e} in amplitude and peak")
    return [eolearn, deafrica]


# --- first call ------------------------------------------------------------------------------------------------------

FIRST_CALL = """if True:
    import time
    start = time.perf_counter()
    import numpy as np
    from geocrop.kernels import features_v1
    imported = time.perf_counter()
    day = np.array([10, 100, 200])
    features_v1(day, np.full((3, 5, 2, 2), 2000, np.uint16), np.full((3, 2, 2), 4, np.uint8))
    print(imported - start, time.perf_counter() - imported)
"""


def first_call(cache: str) -> tuple[float, float]:
    "Seconds of the import and of the first call in a new process, with numba's cache in a folder."
    command = [sys.executable, "-c", FIRST_CALL]
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, cwd=HERE.parent)
    imported, called = map(float, ran.stdout.split())
    return imported, called


def first_calls(rounds: int) -> dict[str, list[tuple[float, float]]]:
    "With an empty cache, then with what that call left."
    found: dict[str, list[tuple[float, float]]] = {"cold": [], "warm": []}
    for turn in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            found["cold"].append(first_call(cache))
            found["warm"].append(first_call(cache))
        tell(f"first calls: round {turn + 1} of {rounds}")
    return found


def bar_of_first_call(cache: str, calls: list[tuple[float, float]], limit: float) -> Bar:
    seconds = [imported + called for imported, called in calls]
    call = statistics.median(called for _, called in calls)
    claim = f"import and first call, numba cache {cache} (the call alone: {call:.2f} s)"
    return Bar(claim, statistics.median(seconds), limit, low=min(seconds), high=max(seconds), unit=" s")


# --- the bars --------------------------------------------------------------------------------------------------------


def bars(times: Times, errors: dict[str, float], calls: dict[str, list[tuple[float, float]]]) -> list[Bar]:
    def faster(other: str, limit: float) -> Bar:
        return ratio(f"kernel vs {other}", other, "geocrop", times, limit, at_least=True)

    return [
        faster(WHOLE, 35),
        faster("xarray", 200),
        faster("numba by pixel", 3.5),
        faster("eo-learn", 60),
        faster("xr_phenology", 40),
        Bar("largest error, all but auc", errors["error"], oracle.TOLERANCE, unit=""),
        Bar("largest error of auc", errors["error_auc"], oracle.TOLERANCE_AUC, unit=""),
        Bar("NaN mismatches", errors["nan_mismatches"], 0, unit=""),
        bar_of_first_call("warm", calls["warm"], 1.5),
        bar_of_first_call("cold", calls["cold"], 6),
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pixels", type=int, default=480 * 480, help="of the fast ones; no power of two is best")
    parser.add_argument("--dates", type=int, default=50)
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("--without-guests", action="store_true", help="their bars count as not met")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    single_thread()
    tell("making a season")
    season = simulate(given.pixels, given.dates)
    errors = checked(season)
    with ExitStack() as stack:
        everyone = timed_here(season)
        if not given.without_guests:
            everyone += invite(stack, season)
        times = interleave(everyone, given.rounds)
    calls = first_calls(given.rounds)
    about = machine("numpy", "numba", "scipy", "xarray")
    print(f"{about}\n{given.dates} dates, CPU time per pixel, one thread, {given.rounds} rounds in turns\n")
    print(table_of_times(everyone, times, "geocrop", 1e6, "us"))
    print("\n" + table_of_errors(errors))
    finish(
        bars(times, errors["geocrop"], calls), given.json, machine=about, times=times, errors=errors, first_calls=calls
    )


if __name__ == "__main__":
    main()
