"""Maps, from COGs to the product: against pure decoding, one worker against two, memory and time over the area.

.venv/bin/python bench/map.py [--part speed stages disc memory] [--rounds 5] [--size 2048] [--dates 50]
                              [--folder DIR] [--json out.json] [--long]
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import readers
from archive import EPSG, TILE_PX, Archive, make, widen
from readers import Task
from rounds import (
    Bar,
    Contender,
    Times,
    arguments,
    finish,
    interleave,
    machine,
    ratio,
    table,
    table_of_times,
    tell,
    wall,
)
from season import cover, fields

HERE = Path(__file__).parent
THREADS = 2
ROUNDS = (300, 100)  # of boosting, of each library: a champion, and a small model
LIMITS = {300: 7.0, 100: 3.5}  # of the time of decoding
CLASSES, SAMPLE, WRONG = 9, 20_000, 0.05  # of the models: classes, training pixels, share of wrong labels
DISC_M, DISC_S = 2000, 10
WORKERS, STAGES, GROWTH, PEAK_MB = 1.7, 0.08, 1.1, 1500


# --- a model of the archive's own fields -----------------------------------------------------------------------------


def crops(archive: Archive) -> np.ndarray:
    "A class for every pixel: thirds of the day of the peak by thirds of the mean greenness of its field."
    rng = np.random.default_rng(36)  # as archive.make
    field = fields(archive.side_px, rng)
    green = cover(field, np.linspace(2, 272, 50).astype(np.int64), rng)
    day, mean = green.argmax(0).argsort().argsort(), green.mean(0).argsort().argsort()
    return (1 + 3 * (3 * day // len(day)) + 3 * mean // len(mean)).astype(np.uint8)[field]


def bundle(rounds: int, archive: Archive, dates: int) -> Path:
    "A calibrated model of so many rounds that knows where it may be applied; trained once, kept beside the archive."
    from geocrop.applicability import APPLICABLE, Applicability
    from geocrop.calibration import Calibration
    from geocrop.ensemble import Ensemble
    from geocrop.schema import Legend
    from geocrop.stream import features_at

    folder = archive.folder.parent / f"bundle-3-{archive.side_px}-{dates}-{rounds}"
    if not (folder / "bundle.json").exists():
        tell(f"training 3 x {rounds} rounds")
        rng = np.random.default_rng(1)
        rows, cols = rng.integers(0, archive.side_px, (2, SAMPLE))
        X = features_at(archive.items(dates), archive.geobox, rows, cols)
        y = crops(archive)[rows, cols]
        wrong = rng.random(SAMPLE) < WRONG
        y[wrong] = rng.integers(1, CLASSES + 1, wrong.sum())
        legend = Legend.of([{"id": k + 1, "name": f"crop_{k + 1}", "colour": "#888888"} for k in range(CLASSES)])
        model = Ensemble(legend, rounds=rounds, inner_folds=0).fit(X, y)
        model.calibration = Calibration((0.9,) * CLASSES, (0.0,) * CLASSES)  # what it is does not matter for the time
        block = rows // 256 * 100 + cols // 256
        usable = ~np.isnan(X).all(axis=1)
        near = Applicability.fit(X[usable], np.ones(X.shape[1]), block[usable] % 5, y[usable])
        model.save(folder, parts={APPLICABLE: near.to_bytes()})
    return folder


@cache
def loaded(folder: Path) -> Any:
    "A model as a worker holds it."
    from geocrop.mapping import MapModel

    return MapModel.load(folder)


def map_of(task: Task, rounds: int, out: Path, threads: int = THREADS) -> Any:
    "The whole way, with all that a product is made of; the model is loaded, as in a worker."
    from geocrop.mapping import map_area

    model = loaded(bundle(rounds, task.archive, task.n_dates))
    return map_area(model, task.items, task.geobox, out, window_px=TILE_PX, threads=threads)


# --- speed -----------------------------------------------------------------------------------------------------------


def speed(task: Task, rounds: int, work: Path) -> tuple[Times, list[Bar]]:
    "By the clock: the same bytes decoded and thrown away, and mapped."
    px = task.side_px**2
    print(f"\n## Map of {task.side_px} x {task.side_px} px, {task.n_dates} dates, by the clock, {rounds} rounds\n")
    assert task.tiles
    everyone = [
        Contender("decode", wall(lambda: readers.decode_only(task, THREADS)), px, f"{THREADS} threads, nothing kept"),
        *(
            Contender(f"map, 3 x {n}", wall(lambda n=n: map_of(task, n, work / f"{n}.tif")), px, f"{THREADS} threads")
            for n in ROUNDS
        ),
        Contender("map, 3 x 300, one thread", wall(lambda: map_of(task, 300, work / "one.tif", 1)), px, "one thread"),
    ]
    times = interleave(everyone, rounds)
    print(table_of_times(everyone, times, "decode", 1e6, "us"))
    bars = [ratio(f"map, 3 x {n}, vs decode", f"map, 3 x {n}", "decode", times, LIMITS[n]) for n in ROUNDS]
    two = ratio("two workers vs one", "map, 3 x 300, one thread", "map, 3 x 300", times, WORKERS, at_least=True)
    return times, [*bars, two]


# --- stages ----------------------------------------------------------------------------------------------------------


@contextmanager
def watched(places: list[tuple[Any, str, str]]) -> Iterator[dict[str, float]]:
    "CPU seconds within some functions, by stage, whatever thread calls them."
    spent: dict[str, float] = {}
    lock = threading.Lock()

    def timed(function: Callable, stage: str) -> Callable:
        def call(*args: Any, **more: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*args, **more)
            finally:
                with lock:
                    spent[stage] = spent.get(stage, 0) + time.thread_time() - start

        return call

    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for owner, name, stage in places:
        setattr(owner, name, timed(getattr(owner, name), stage))
    try:
        yield spent
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)


def stages(task: Task, rounds: int, work: Path) -> tuple[dict[str, list[float]], list[Bar]]:
    "Where the CPU time of a map goes, one thread, so that compression can be told from the rest of the process."
    import rasterio.shutil

    from geocrop import applicability, forest, kernels, reader, tiff

    print(f"\n## Stages of a map, 3 x 300, one thread: microseconds of CPU per pixel, {rounds} rounds\n")
    places = [
        (tiff.Archive, "read", "decode"),
        (reader, "decode", "decode"),
        (kernels.StoredSeason, "features", "features"),
        (forest.Forest, "predict_proba", "inference"),
        (applicability.Applicability, "inside", "area of applicability"),
        (rasterio.shutil, "copy", "overviews and compression"),
    ]
    names = [*dict.fromkeys(stage for *_, stage in places), "all the rest"]
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-1, rounds):
        with watched(places) as spent:
            start = time.process_time()
            map_of(task, 300, work / "stages.tif", 1)
            total = time.process_time() - start
        rest = total - sum(spent.values())
        if turn >= 0:
            for name, seconds in {**spent, "all the rest": rest}.items():
                found[name].append(seconds)
        tell(f"round {turn + 1} of {rounds}")
    totals = [sum(of) for of in zip(*found.values(), strict=True)]
    rows = []
    for name, taken in found.items():
        share = [a / b for a, b in zip(taken, totals, strict=True)]
        micro = 1e6 * np.array(taken) / task.side_px**2
        rows.append(
            [name, f"{np.median(micro):.3f}", f"{micro.min():.3f} - {micro.max():.3f}", f"{np.median(share):.1%}"]
        )
    print(table(["stage", "median us", "min - max", "share"], rows))
    shares = [a / b for a, b in zip(found["all the rest"], totals, strict=True)]
    claim = "time outside decode, features, inference and compression"
    return found, [Bar(claim, float(np.median(shares)), STAGES, low=min(shares), high=max(shares), unit="")]


# --- a disc ----------------------------------------------------------------------------------------------------------


def disc(task: Task, rounds: int, work: Path) -> tuple[list[float], list[Bar]]:
    "Somebody's own area, in a process that is warm: seconds by the clock."
    from dataclasses import replace

    from odc.geo.geom import point

    from geocrop.cube import grid
    from geocrop.mapping import map_area
    from geocrop.schema import AOI, geometry

    middle = task.side_px * 10 / 2
    left, _, _, top = task.geobox.boundingbox
    lon, lat = point(left + middle, top - middle, f"EPSG:{EPSG}").to_crs("EPSG:4326").coords[0]
    items = replace(task.items, area=geometry(AOI(lon, lat, DISC_M)))
    where = grid(items)
    model = loaded(bundle(300, task.archive, task.n_dates))
    taken = []
    for turn in range(-1, rounds):
        start = time.perf_counter()
        map_area(model, items, where, work / "disc.tif", threads=THREADS)
        if turn >= 0:
            taken.append(time.perf_counter() - start)
    print(f"\n## A disc of {DISC_M} m, {where.shape[0]} x {where.shape[1]} px, {task.n_dates} dates, warm\n")
    print(table(["median s", "min - max"], [[f"{np.median(taken):.2f}", f"{min(taken):.2f} - {max(taken):.2f}"]]))
    claim = f"a map of {DISC_M} m radius, warm process"
    return taken, [Bar(claim, float(np.median(taken)), DISC_S, low=min(taken), high=max(taken), unit=" s")]


# --- memory ----------------------------------------------------------------------------------------------------------

ONCE = """if True:
    import re, sys, time
    from pathlib import Path
    from geocrop import items
    from geocrop.mapping import map_area
    from odc.geo.geobox import GeoBox
    from rasterio.transform import Affine
    path, model, out, side, west, north, epsg, window, threads = sys.argv[1:]
    grid = GeoBox((int(side), int(side)), Affine(10, 0, float(west), 0, -10, float(north)), f"EPSG:{epsg}")
    start = time.perf_counter()
    map_area(model, items.load(path), grid, out, window_px=int(window), threads=int(threads))
    seconds = time.perf_counter() - start  # getrusage would tell the parent's peak, if that is larger
    print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1], seconds)
"""


def peak(task: Task, model: Path, work: Path) -> tuple[float, float]:
    "Peak memory of a new process that makes the map, MB; seconds by the clock."
    from geocrop import items

    items.save(task.items, work / "items.json")
    west, north = task.geobox.affine.c, task.geobox.affine.f
    numbers = map(str, (task.side_px, west, north, EPSG, TILE_PX, THREADS))
    command = [sys.executable, "-c", ONCE, work / "items.json", model, work / "wide.tif", *numbers]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=HERE)
    kilobytes, seconds = ran.stdout.split()
    return int(kilobytes) * 1024 / 1e6, float(seconds)


def memory(archive: Archive, dates: int, sides_px: list[int], work: Path) -> tuple[dict[int, Any], list[Bar]]:
    "Peak memory and time over areas that grow."
    print(f"\n## Peak memory and time, {dates} dates, 3 x 300, windows of {TILE_PX} px, {THREADS} threads\n")
    model = bundle(300, archive, dates)
    found = {}
    for side_px in sides_px:
        tell(f"memory: {side_px} px")
        found[side_px] = peak(Task(widen(archive, side_px, dates), dates, side_px), model, work)
    first = found[sides_px[0]][0]
    rows = [
        [f"{side**2 / 2**20:.0f} Mpx", f"{mb:.0f}", f"{mb / first:.2f}x", f"{s:.1f}", f"{1e6 * s / side**2:.2f}"]
        for side, (mb, s) in found.items()
    ]
    print(table(["pixels", "peak MB", "of the first", "seconds", "us per pixel"], rows))
    last = found[sides_px[-1]][0]
    size = f"{sides_px[-1] ** 2 / 2**20:.0f} Mpx"
    return found, [
        Bar(f"peak memory, {size} vs {sides_px[0] ** 2 / 2**20:.0f} Mpx", last / first, GROWTH),
        Bar(f"peak memory, {size}", max(mb for mb, _ in found.values()), PEAK_MB, unit=" MB"),
    ]


# --- all of it -------------------------------------------------------------------------------------------------------


PARTS = ("speed", "stages", "disc", "memory")


def main() -> None:
    given = arguments(__doc__, PARTS, PARTS, 5)
    archive = make(given.folder, given.size, given.dates)
    task = Task(archive, given.dates, given.size)
    about = machine("numpy", "numba", "rasterio", "xgboost-cpu", "lightgbm", "catboost")
    print(about)
    told: dict[str, Any] = {"machine": about, "side_px": given.size, "dates": given.dates}
    bars: list[Bar] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, run in (("speed", speed), ("stages", stages), ("disc", disc)):
            if name in given.part:
                told[name], more = run(task, given.rounds, work)
                bars += more
        if "memory" in given.part:
            sides = [TILE_PX, 2 * TILE_PX, 4 * TILE_PX] + ([8 * TILE_PX] if given.long else [])
            told["memory"], more = memory(archive, given.dates, sides, work)
            bars += more
    finish(bars, given.json, **json.loads(json.dumps(told)))


if __name__ == "__main__":
    main()
