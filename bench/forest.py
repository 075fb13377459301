"""Trees: time per pixel of the native libraries, of others and of ours, in turns, on the same models and rows.

.venv/bin/python bench/forest.py [--quick] [--rounds 5] [--json bench/results/forest.json] [--without-guests]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from rounds import Bar, Contender, Times, finish, interleave, machine, ratio, table, table_of_times, tell, wall

from geocrop.ensemble import Ensemble, most_likely, predict_member
from geocrop.forest import Forest
from geocrop.schema import FEATURE_ORDER_V1, Legend

HERE = Path(__file__).parent
GUESTS_PYTHON = HERE / ".venv/bin/python"
CACHE = Path(tempfile.gettempdir()) / "geocrop-bench-forest-2"
CLASSES, FEATURES, MISSING, ALIKE = 9, len(FEATURE_ORDER_V1), 0.03, 64
GUESTS = ("treelite", "tl2cgen", "onnxruntime")
LEGEND = Legend.of([{"id": k + 1, "name": f"crop {k + 1}", "colour": "#888888"} for k in range(CLASSES)])

# rounds of boosting -> bars of probabilities and labels
BARS = {300: (40, 70), 100: (25, 35)}


# --- rows and models -------------------------------------------------------------------------------------------------


def rows(count: int, seed: int, alike: int = 1) -> tuple[np.ndarray, np.ndarray]:
    "Made-up features of nine crops, correlated as features of one season are; `alike` pixels of a field in a row."
    world, rng = np.random.default_rng(9), np.random.default_rng(seed)
    centre, mix = 0.65 * world.normal(size=(CLASSES, FEATURES)), 0.6 * world.normal(size=(12, FEATURES))
    fields = -(-count // alike)
    crop = rng.integers(0, CLASSES, fields)
    field = centre[crop] + rng.normal(size=(fields, 12)) @ mix + rng.normal(size=(fields, FEATURES))
    X = np.repeat(field.astype("float32"), alike, axis=0)[:count]
    if alike > 1:
        X += 0.1 * rng.normal(size=X.shape).astype("float32")
    X[rng.random(X.shape) < MISSING] = np.nan
    return X, np.repeat(crop, alike)[:count] + 1


def bundle(rounds: int) -> Path:
    "A model of so many rounds; trained once, and kept in the temp folder."
    folder = CACHE / f"{rounds}"
    if not (folder / "bundle.json").exists():
        tell(f"training 3 x {rounds} rounds")
        X, crop = rows(20_000, seed=1)
        rng = np.random.default_rng(2)
        wrong = rng.random(len(crop)) < 0.05  # labels from the field are never all right
        crop[wrong] = rng.integers(1, CLASSES + 1, wrong.sum())
        model = Ensemble(LEGEND, rounds=rounds, inner_folds=0).fit(X, crop)
        folder.parent.mkdir(exist_ok=True)
        model.save(folder)
        model.members["catboost"].save_model(str(folder / "catboost.onnx"), format="onnx")
    return folder


# --- contenders ------------------------------------------------------------------------------------------------------


@contextmanager
def guest(engine: str, folder: Path, X: np.ndarray, threads: int) -> Iterator[tuple[Contender, dict[str, np.ndarray]]]:
    "A process of bench/.venv that predicts when told to; and what it found, by library."
    with tempfile.TemporaryDirectory() as work:
        np.save(f"{work}/rows.npy", X)
        command = [GUESTS_PYTHON, HERE / "tree_guests.py", engine, folder, f"{work}/rows.npy", f"{work}/found.npz"]
        pipe = subprocess.PIPE
        with subprocess.Popen([*command, str(threads)], stdin=pipe, stdout=pipe, text=True) as process:
            assert process.stdin and process.stdout

            def answer() -> str:
                line = process.stdout.readline()
                if not line:
                    raise SystemExit(f"{engine}: its process ended; what it said stands above.")
                return line

            def run() -> float:
                process.stdin.write("again\n")
                process.stdin.flush()
                return float(answer())

            while answer() != "ready\n":
                pass
            found = dict(np.load(f"{work}/found.npz"))
            yield Contender(engine, run, len(X), " + ".join(found)), found
            process.stdin.close()


def compared(found: np.ndarray, native: np.ndarray, label: np.ndarray | None = None) -> tuple[float, int]:
    "Largest difference of a probability; labels that differ where the native top two are more than 1e-5 apart."
    second, first = np.sort(native, axis=1)[:, -2:].T
    label = most_likely(found, LEGEND.ids) if label is None else label
    flips = (label != most_likely(native, LEGEND.ids)) & (first - second > 1e-5)
    return float(np.abs(found - native).max()), int(flips.sum())


def part(
    rounds: int,
    alike: int,
    threads: int,
    given: argparse.Namespace,
) -> tuple[list[Contender], Times, dict[str, tuple[float, int]]]:
    "One model, one kind of rows, one number of threads: everyone in turns."
    folder = bundle(rounds)
    model, forest = Ensemble.load(folder), Forest.load(folder, threads=threads)
    assert forest.engine == "forest", forest.reason
    model.threads = threads
    X, _ = rows(given.pixels, seed=5, alike=alike)
    few = np.ascontiguousarray(X[: given.native_pixels])
    by_library = {name: proba.astype("float64") for name, proba in model.member_proba(few).items()}
    native = np.mean(list(by_library.values()), axis=0)
    proba, label = forest.predict_proba(X), forest.predict(X)
    assert (label == most_likely(proba, LEGEND.ids)).all()
    errors = {
        "ours, probabilities": compared(proba[: len(few)], native),
        "ours, labels": compared(proba[: len(few)], native, label[: len(few)]),
    }
    members = model.members
    everyone = [
        Contender("native soft vote", wall(lambda: model.predict_proba(few)), len(few), "Ensemble.predict_proba"),
        Contender("ours, probabilities", wall(lambda: forest.predict_proba(X)), len(X), "Forest.predict_proba"),
        Contender("ours, labels", wall(lambda: forest.predict(X)), len(X), "Forest.predict"),
        Contender(
            "xgboost",
            wall(lambda: members["xgboost"].inplace_predict(few, validate_features=False)),
            len(few),
            "inplace_predict",
        ),
        Contender("lightgbm", wall(lambda: members["lightgbm"].predict(few, num_threads=threads)), len(few), "predict"),
        Contender(
            "lightgbm, slices",
            wall(partial(predict_member, "lightgbm", members["lightgbm"], few, threads)),
            len(few),
            "predict, 30 rounds at a time, summed",
        ),
        Contender(
            "catboost",
            wall(lambda: members["catboost"].predict(few, prediction_type="Probability", thread_count=threads)),
            len(few),
            "predict",
        ),
    ]
    if threads > 1:
        one = Forest(model, threads=1)
        everyone += [
            Contender(
                "ours, probabilities, one thread", wall(lambda: one.predict_proba(X)), len(X), "in the same rounds"
            ),
            Contender("ours, labels, one thread", wall(lambda: one.predict(X)), len(X), "in the same rounds"),
        ]
    with ExitStack() as stack:
        if not given.without_guests and rounds == min(BARS) and alike == 1:
            for engine in GUESTS:
                tell(f"{engine} reads the models")
                contender, found = stack.enter_context(guest(engine, folder, few[: given.guest_pixels], threads))
                everyone.append(contender)
                mean = [
                    np.mean([of[name][: given.guest_pixels] for name in found], axis=0) for of in (found, by_library)
                ]
                errors[engine] = compared(*mean)
        return everyone, interleave(everyone, given.rounds), errors


# --- load and first prediction ---------------------------------------------------------------------------------------

FIRST = """if True:
    import sys, time
    begin = time.perf_counter()
    import numpy as np
    from geocrop.forest import Forest
    imported = time.perf_counter()
    forest = Forest.load(sys.argv[1])
    loaded = time.perf_counter()
    forest.predict_proba(np.zeros((1000, 51), "float32"))
    assert forest.engine == "forest" and not {"xgboost", "lightgbm", "catboost"} & {*sys.modules}
    print(imported - begin, loaded - imported, time.perf_counter() - loaded)
"""


def first_prediction(folder: Path, rounds: int) -> list[tuple[float, ...]]:
    "Seconds of import, of load and comparison, and of the first prediction, in new processes; numba's cache is warm."
    found = []
    for _ in range(rounds + 1):
        ran = subprocess.run(
            [sys.executable, "-c", FIRST, folder], check=True, capture_output=True, text=True, cwd=HERE.parent
        )
        found.append(tuple(map(float, ran.stdout.split())))
    return found[1:]


# --- tables ----------------------------------------------------------------------------------------------------------


def table_of_errors(errors: dict[str, tuple[float, int]]) -> str:
    lines = [[name, f"{difference:.1e}", str(flips)] for name, (difference, flips) in errors.items()]
    return table(["against the native libraries", "largest difference", "label flips"], lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pixels", type=int, default=200_000, help="for ours")
    parser.add_argument(
        "--native-pixels", type=int, default=20_000, help="the first of these, for the native libraries"
    )
    parser.add_argument("--guest-pixels", type=int, default=5_000, help="the first of these, for the others")
    parser.add_argument("--quick", action="store_true", help="3 rounds, a quarter of the pixels")
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("--without-guests", action="store_true", help="without treelite, tl2cgen and onnxruntime")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.pixels, given.native_pixels, given.guest_pixels = 3, 50_000, 5_000, 2_000
    return given


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    given = arguments()
    if not (given.without_guests or GUESTS_PYTHON.exists()):
        raise SystemExit("bench/.venv: found none; expected treelite and onnxruntime there. Run: bench/setup.sh")
    about = machine("numpy", "numba", "xgboost-cpu", "lightgbm", "catboost")
    print(f"{about}\n{FEATURES} features, {CLASSES} classes, {MISSING:.0%} NaN; {given.pixels} rows for ours")
    times: dict[str, Times] = {}
    errors: dict[str, dict[str, tuple[float, int]]] = {}
    bars = []
    for rounds, limits in BARS.items():
        for alike, kind in ((1, "i.i.d."), (ALIKE, "fields")):
            for threads in (1, 2):
                title = f"3 x {rounds}, {kind}, {threads} thread(s)"
                started = time.perf_counter()
                everyone, times[title], errors[title] = part(rounds, alike, threads, given)
                print(f"\n{title}\n" + table_of_times(everyone, times[title], "native soft vote", 1e6, "us"))
                print(table_of_errors(errors[title]), flush=True)
                for what, limit in zip(("probabilities", "labels"), limits, strict=True):
                    limit = limit if alike == 1 else 0.7 * limit
                    bars.append(
                        ratio(
                            f"{what}, {title}", "native soft vote", f"ours, {what}", times[title], limit, at_least=True
                        )
                    )
                tell(f"{title}: {time.perf_counter() - started:.0f} s")
        two = times[f"3 x {rounds}, i.i.d., 2 thread(s)"]
        for what in ("ours, probabilities", "ours, labels"):
            claim = f"{what}, 3 x {rounds}: two threads vs one"
            bars.append(ratio(claim, f"{what}, one thread", what, two, 1.6, at_least=True))
    firsts = {rounds: first_prediction(bundle(rounds), given.rounds) for rounds in BARS}
    rows = [
        [f"3 x {n}", *(f"{np.median(part):.2f}" for part in zip(*calls, strict=True))] for n, calls in firsts.items()
    ]
    print("\n" + table(["seconds, numba's cache warm", "import", "load and comparison", "first prediction"], rows))
    for rounds, calls in firsts.items():
        seconds = sorted(loaded + called for _, loaded, called in calls)
        claim = f"bundle load, comparison and first prediction, 3 x {rounds}, numba cache warm"
        bars.append(Bar(claim, float(np.median(seconds)), 2, low=seconds[0], high=seconds[-1], unit=" s"))
    worst = max(difference for of in errors.values() for name, (difference, _) in of.items() if name.startswith("ours"))
    flips = sum(count for of in errors.values() for name, (_, count) in of.items() if name.startswith("ours"))
    bars += [Bar("largest difference of a probability", worst, 1e-5, unit=""), Bar("label flips", flips, 0, unit="")]
    finish(bars, given.json, machine=about, times=times, errors=errors, first_predictions=firsts)


if __name__ == "__main__":
    main()
