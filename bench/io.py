"""Reading a season of COGs, and making features of it, against others and against the bare work.

.venv/bin/python bench/io.py [--part read stream memory recode] [--rounds 7] [--size 2048] [--dates 50]
                             [--folder DIR] [--json out.json] [--long]
"""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import ours
import pystac
import readers
from archive import PATCHES, TILE_PX, Archive, make, widen
from readers import Task
from rounds import (
    Bar,
    Contender,
    Times,
    arguments,
    cpu,
    finish,
    interleave,
    machine,
    ratio,
    single_thread,
    table,
    table_of_times,
    tell,
    wall,
)

HERE = Path(__file__).parent
FEWER_DATES = 10  # for readers that warp: they take many times as long; time is told per date
DELAY_MS = 50
BYTES_PER_PIXEL = 5 * 2 + 1  # of one date: five bands and SCL


# --- read ------------------------------------------------------------------------------------------------------------


Reader = tuple[Contender, Callable[[], readers.Arrays | None]]  # to be timed; what it reads


def fewer(task: Task) -> Task:
    return replace(task, n_dates=min(FEWER_DATES, task.n_dates))


def reading(task: Task) -> list[Reader]:
    "All readers of a window."
    few = fewer(task)
    documents, few_documents = readers.stac(task), readers.stac(few)
    parsed, few_parsed = ([pystac.Item.from_dict(document) for document in many] for many in (documents, few_documents))
    stored, on_10_m, there = "as stored", "B05, B11 bilinear to 10 m, SCL nearest", "into arrays that are there"
    whole, window = task.bytes_on_10_m, task.n_dates * BYTES_PER_PIXEL * TILE_PX**2

    # name, function, task, bytes of new memory that it asks for, what it does
    found: list[tuple[str, Callable, Task, int, str]] = [
        ("geocrop", readers.with_windows, task, window, f"{stored}, a window of one tile after the other"),
        ("bare loop", readers.bare, task, 0, f"{stored}, {there}"),
        ("bare loop, new arrays", partial(readers.bare, fresh=True), task, whole, f"{stored}, into arrays of its own"),
        ("rasterio", readers.with_rasterio, task, 0, f"{stored}, {there}; one open, one read a file"),
    ]
    for name, how, many, same in (
        ("odc-stac", readers.with_odc, parsed, few_parsed),
        ("stackstac", readers.with_stackstac, documents, few_documents),
    ):
        more = "no chunks" if name == "odc-stac" else "no bounds="
        found += [
            (name, partial(how, documents=many, native=True), task, 2 * whole, f"{stored}, {more}"),
            (
                f"{name}, 10 m",
                partial(how, documents=same, native=False),
                few,
                2 * few.bytes_on_10_m,
                f"{on_10_m}; {more}",
            ),
        ]
    found += [
        ("geocrop, 10 m", readers.with_cube, few, 2 * few.bytes_on_10_m, on_10_m),
        (
            "stackstac bounds=",
            partial(readers.with_bounds, documents=few_documents),
            few,
            2 * few.bytes_on_10_m,
            f"{on_10_m}; warps all bands",
        ),
    ]
    return [
        (Contender(name, cpu(partial(work, of), memory=memory), of.n_dates, does), partial(work, of))
        for name, work, of, memory, does in found
    ]


def check_readers(task: Task) -> None:
    "Stops where a reader does not see what ours sees."
    expected = readers.with_cube(task)
    for contender, work in reading(task):
        found = work() or readers.of_windows(task)
        differs = readers.differences(found, expected)
        allowed = {asset: readers.BILINEAR_DN if asset in ("B05", "B11") else 0 for asset in differs}
        if any(differs[asset] > allowed[asset] for asset in differs):
            raise SystemExit(f"{contender.name}: differs from ours by {differs}; expected at most {allowed}.")
        tell(f"{contender.name}: differs by {differs}")


def read(archive: Archive, dates: int, side_px: int, rounds: int) -> tuple[Times, list[Bar]]:
    "CPU seconds per date of one window."
    task = Task(archive, dates, side_px)
    print(
        f"\n## Read {side_px} x {side_px} px, {dates} dates: CPU time per date, one thread, {rounds} rounds in turns\n"
    )
    assert task.tiles and task.arrays  # found and made before the clock starts
    check_readers(fewer(task))
    contenders = [contender for contender, _ in reading(task)]
    times = interleave(contenders, rounds)
    print(table_of_times(contenders, times, "geocrop", 1e3, "ms"))

    def slower(other: str, limit: float, ours: str = "geocrop") -> Bar:
        return ratio(f"reader vs {other}, {side_px} px", other, ours, times, limit, at_least=True)

    return times, [
        ratio(f"reader vs bare loop, {side_px} px", "geocrop", "bare loop", times, 1.08),
        slower("rasterio", 1.4),
        slower("odc-stac", 1.8),
        slower("stackstac", 2),
        slower("stackstac bounds=", 5, "geocrop, 10 m"),
    ]


# --- stream ----------------------------------------------------------------------------------------------------------

THREADS = 2


def features_of(task: Task, root: str = "") -> float:
    "Stream the features of the window, consumed as they come; a number that depends on all of them."
    items = task.archive.items(task.n_dates, root)
    there = task.there if not root else task.there | {"archive": None}  # what is far away tells its tables each time
    found = ours.stream(items, task.geobox, TILE_PX, THREADS, **there)
    return sum(float(np.nansum(features[:, ::64, ::64])) for features in found)


@contextmanager
def served(folder: Path, delay_ms: float) -> Iterator[tuple[str, dict[str, Any]]]:
    "The folder's address on a server of its own process, and later what it was asked."
    command = [sys.executable, HERE / "range_server.py", folder, str(delay_ms)]
    asked: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}", asked
        process.send_signal(signal.SIGTERM)
        asked |= json.loads(process.stdout.read())


def stream(archive: Archive, cloudy: Archive, dates: int, side_px: int, rounds: int) -> tuple[Times, list[Bar]]:
    "Wall seconds from COGs to features, of files and over HTTP."
    task, patches = Task(archive, dates, side_px), Task(cloudy, dates, side_px)
    assert task.tiles and patches.tiles
    hidden = f"{100 * cloudy.hidden(dates):.0f} % of the tiles without a clear pixel"
    title = f"COGs -> features, {side_px} x {side_px} px, {dates} dates: wall time, {THREADS} threads"
    print(f"\n## {title}, {rounds} rounds in turns\n")
    with served(archive.folder, 0) as (near, _), served(archive.folder, DELAY_MS) as (far, asked_far):
        late = f"HTTP, {DELAY_MS} ms"
        contenders = [
            Contender("geocrop", wall(partial(features_of, task)), 1, "files -> 51 features"),
            Contender("decode", wall(partial(readers.decode_only, task, THREADS)), 1, "the same bytes, decoded only"),
            Contender(
                "HTTP, 0 ms", wall(partial(features_of, task, near)), 1, "the same from a server on this machine"
            ),
            Contender(late, wall(partial(features_of, task, far)), 1, f"each answer {DELAY_MS} ms late"),
            Contender("geocrop, patches", wall(partial(features_of, patches)), 1, f"clouds in large patches: {hidden}"),
            Contender(
                "decode, patches", wall(partial(readers.decode_only, patches, THREADS)), 1, "all tiles of these files"
            ),
        ]
        same = {features_of(task, root) for root in ("", near, far)}
        features_of(patches)  # headers and memory, as the others have them now
        if len(same) > 1:
            raise SystemExit(f"Features of files and over HTTP: found sums {same}; expected the same.")
        times = interleave(contenders, rounds, warm_up=False)
    print(table_of_times(contenders, times, "geocrop"))
    runs = rounds + 1
    print(
        f"\nAsked of the late server in a run: {asked_far['requests'] // runs} requests, "
        f"{asked_far['bytes'] / runs / 1e6:.0f} MB, at most {asked_far['most_in_flight']} at a time"
    )
    return times, [
        ratio("COGs -> features vs decode alone", "geocrop", "decode", times, 1.15),
        ratio(f"the same, {hidden}", "geocrop, patches", "decode, patches", times, 1.15),
        ratio(f"{DELAY_MS} ms per request vs none", late, "HTTP, 0 ms", times, 1.2),
    ]


# --- memory ----------------------------------------------------------------------------------------------------------

BASE_MB = 300  # interpreter, libraries, features of a window, what is under way

STREAM_ONCE = """if True:
    import re, sys
    from odc.geo.geobox import GeoBox
    import ours
    from geocrop import items
    path, side_px, west, north, window_px, threads = sys.argv[1], *map(int, sys.argv[2:])
    season = items.load(path)
    box = (west, north - 10 * side_px, west + 10 * side_px, north)
    grid = GeoBox.from_bbox(box, crs=f"EPSG:{season.epsg}", resolution=10, tight=True)
    pixels = sum(features[0].size for features in ours.stream(season, grid, window_px, threads))
    assert pixels == side_px**2
    status = open("/proc/self/status").read()  # ru_maxrss would be that of the process that started this one
    print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) * 1024)
"""


def peak_mb(task: Task) -> float:
    "Of a new process that streams the window and keeps nothing."
    from geocrop import items

    west, _, _, north = map(int, task.geobox.boundingbox)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.json"
        items.save(task.items, path)
        numbers = map(str, (task.side_px, west, north, TILE_PX, THREADS))
        command = [sys.executable, "-c", STREAM_ONCE, str(path), *numbers]
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=HERE)
    return int(ran.stdout) / 1e6


def memory(archive: Archive, dates: int, sides_px: list[int]) -> tuple[dict[int, float], list[Bar]]:
    "Peak memory over areas that grow."
    print(f"\n## Peak memory of COGs -> features, {dates} dates, windows of {TILE_PX} px, {THREADS} threads\n")
    limit = round(dates * BYTES_PER_PIXEL * TILE_PX**2 / 1e6 + BASE_MB)
    found = {}
    for side_px in sides_px:
        tell(f"memory: {side_px} px")
        found[side_px] = peak_mb(Task(widen(archive, side_px, dates), dates, side_px))
    first = sides_px[0]
    rows = [
        [f"{side} x {side}", f"{(side / first) ** 2:.0f}x", f"{mb:.0f}", f"{mb / found[first]:.2f}x"]
        for side, mb in found.items()
    ]
    print(table(["pixels", "area", "peak MB", "of the first"], rows))
    return found, [Bar(f"peak memory, {side} px", mb, limit, unit=" MB") for side, mb in found.items()]


# --- recode ----------------------------------------------------------------------------------------------------------

Code = tuple[Callable[[np.ndarray], bytes], Callable[[bytes, np.ndarray], object]]  # encode; decode into an array


def flat(pixels: np.ndarray) -> np.ndarray:
    "The bytes of an array, as codecs take them."
    return pixels.reshape(-1).view(np.uint8)


def predicted(encode: Callable, decode: Callable) -> Code:
    "A codec of bytes after TIFF's predictor 2."

    def encode_tile(pixels: np.ndarray) -> bytes:
        return encode(flat(np.ascontiguousarray(imagecodecs.delta_encode(pixels, axis=-1))))

    def decode_tile(stored: bytes, out: np.ndarray) -> None:
        decode(stored, out=flat(out))
        imagecodecs.delta_decode(out, axis=-1, out=out)

    return encode_tile, decode_tile


def blosc2(compressor: str, shuffle: str, level: int, predictor: bool) -> Code:
    encode = partial(
        imagecodecs.blosc2_encode, level=level, compressor=compressor, shuffle=shuffle, typesize=2, numthreads=1
    )
    decode = partial(imagecodecs.blosc2_decode, numthreads=1)
    if predictor:
        return predicted(encode, decode)
    return lambda pixels: encode(flat(pixels)), lambda stored, out: decode(stored, out=flat(out))


def codes() -> dict[str, Code]:
    "What a local cache could hold tiles as."

    def lz4_decode(stored: bytes, out: np.ndarray) -> None:
        imagecodecs.lz4_decode(stored, out=out)

    found = {
        "deflate 6, predictor (now)": predicted(
            partial(imagecodecs.deflate_encode, level=6), imagecodecs.deflate_decode
        ),
        "zstd 1, predictor": predicted(partial(imagecodecs.zstd_encode, level=1), imagecodecs.zstd_decode),
        "lz4, predictor": predicted(imagecodecs.lz4_encode, lz4_decode),
    }
    for shuffle in ("shuffle", "bitshuffle"):
        for compressor, level in (("lz4", 5), ("zstd", 1)):
            for predictor in (False, True):
                name = f"blosc2 {shuffle} {compressor} {level}" + (", predictor" if predictor else "")
                found[name] = blosc2(compressor, shuffle, level, predictor)
    found["as they are"] = (
        lambda pixels: pixels.tobytes(),
        lambda stored, out: np.copyto(flat(out), np.frombuffer(stored, np.uint8)),
    )
    return found


def sample_tiles(archive: Archive, dates: int) -> list[np.ndarray]:
    "One tile of each band of 10 and of 20 m on some dates."
    task = Task(archive, min(dates, 12), TILE_PX)
    arrays = readers.bare(task)
    return [np.ascontiguousarray(arrays[a][d]) for d in range(task.n_dates) for a in ("B02", "B04", "B08")] + [
        np.ascontiguousarray(arrays[a][d]) for d in range(task.n_dates) for a in ("B05", "B11")
    ]


def recode(archive: Archive, dates: int, rounds: int) -> Times:
    "CPU time to decode a tile, its size, and after how many readings the making of the cache is paid for."
    tiles = sample_tiles(archive, dates)
    print(f"\n## Tiles kept in other codes: {len(tiles)} tiles, CPU time on one thread, {rounds} rounds in turns\n")
    megabytes = sum(tile.nbytes for tile in tiles) / 1e6
    stored, encode_s, contenders = {}, {}, []
    for name, (encode, decode) in codes().items():
        stored[name] = []
        encode_s[name] = cpu(lambda encode=encode, kept=stored[name]: kept.extend(map(encode, tiles)))() / len(tiles)
        outs = [np.zeros_like(tile) for tile in tiles]

        def work(decode=decode, kept=stored[name], outs=outs) -> None:
            for data, out in zip(kept, outs, strict=True):
                decode(data, out)

        work()
        if not all(np.array_equal(out, tile) for out, tile in zip(outs, tiles, strict=True)):
            raise SystemExit(f"{name}: does not give back what was put in.")
        contenders.append(Contender(name, cpu(work), len(tiles)))
    times = interleave(contenders, rounds)
    now = np.median(times[contenders[0].name])
    rows = []
    for name in stored:
        seconds = float(np.median(times[name]))
        size = sum(map(len, stored[name])) / 1e6
        gain = now - seconds
        rows.append(
            [
                name, f"{1e3 * seconds:.2f}", f"{1e3 * min(times[name]):.2f} - {1e3 * max(times[name]):.2f}",
                f"{megabytes / len(tiles) / seconds:.0f}", f"{now / seconds:.2f}x", f"{megabytes / size:.2f}",
                f"{1e3 * encode_s[name]:.1f}", f"{encode_s[name] / gain:.1f}" if gain > 0 else "-",
            ]
        )  # fmt: skip
    head = ["code", "decode ms", "min - max", "MB/s", "faster", "compression", "encode ms", "pays after readings"]
    print(table(head, rows))
    return times


# --- all of it -------------------------------------------------------------------------------------------------------


PARTS = ("read", "stream", "memory", "recode")


def main() -> None:
    given = arguments(__doc__, PARTS, PARTS[:3], 7)
    single_thread()
    tell(f"archive in {given.folder}")
    archive = make(given.folder, given.size, given.dates)
    about = machine("numpy", "numba", "rasterio", "imagecodecs", "odc-stac", "stackstac")
    raw, stored = archive.raw_bytes(given.dates), archive.stored_bytes(given.dates)
    print(
        f"{about}\n{given.dates} dates of {given.size} px: {raw / 1e6:.0f} MB as pixels, {stored / 1e6:.0f} MB stored"
    )
    told: dict[str, Any] = {"machine": about, "raw_bytes": raw, "stored_bytes": stored}
    bars: list[Bar] = []
    if "read" in given.part:
        for side_px in dict.fromkeys((given.size, TILE_PX)):
            told[f"read_{side_px}"], more = read(archive, given.dates, side_px, given.rounds)
            bars += more
    if "stream" in given.part:
        told["stream"], more = stream(
            archive, make(given.folder, given.size, given.dates, PATCHES), given.dates, given.size, given.rounds
        )
        bars += more
    if "memory" in given.part:
        sides = [TILE_PX, 2 * TILE_PX, 4 * TILE_PX] + ([8 * TILE_PX] if given.long else [])
        told["memory"], more = memory(archive, given.dates, sides)
        bars += more
    if "recode" in given.part:
        told["recode"] = recode(archive, given.dates, given.rounds)
    finish(bars, given.json, **told)


if __name__ == "__main__":
    main()
