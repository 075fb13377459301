"""A map that is interrupted, starved or lied to: the same bytes in the end, and never half of them in sight."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mortal
import numpy as np
import pytest
import ranges
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from mortal import Moment
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as Part

from geocrop import cog, cube
from geocrop import items as items_module
from geocrop.applicability import APPLICABLE, Applicability
from geocrop.clouds import V1_MASK, Mask
from geocrop.ensemble import Ensemble
from geocrop.items import ASSETS, Item, ItemList
from geocrop.mapping import MOST_FAILED, PRODUCT_BANDS, asked, map_area
from geocrop.reader import plan
from geocrop.samples import grouped_folds
from geocrop.schema import FEATURE_ORDER_V1, ProductError, Season
from geocrop.settings import area, legend
from geocrop.stream import features_at

SIDE, WINDOW = 320, 64  # pixels of 10 m: 25 windows and more, since they are cut before the lines of tiles
FILES = ("map.tif", "map.tif.aux.xml", "map.qml", "map.stats.json", "map.json")
WINDOWS = ".map.tif.unfinished/windows.txt"


# --- an archive, a model ---------------------------------------------------------------------------------------------


def tiled(source: Path, target: Path, side: int) -> None:
    "The corner of a raster in tiles of 64, so that a tile is a window and no more."
    target.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(source) as whole:
        values = whole.read(window=Part(0, 0, side, side))
        about = whole.profile | {"width": side, "height": side, "tiled": True, "blockxsize": 64, "blockysize": 64}
    with rasterio.open(target, "w", **about) as file:
        file.write(values)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    "Arguments of map_area: 14 scenes of a corner of the embedded season, and a small model. Nobody may change them."
    folder, season = tmp_path_factory.mktemp("world"), Path(__file__).parents[1] / "data/season"
    every = items_module.search(area(), Season(2022), catalogue=str(season / "catalog.json"))
    geobox = cube.grid(every)[:SIDE, :SIDE]
    scenes = []
    for item in every.items[::7]:
        assets = {asset: str(folder / item.id / f"{asset}.tif") for asset in ASSETS}
        for asset, target in assets.items():
            tiled(Path(item.assets[asset]), Path(target), SIDE if asset in ("B02", "B04", "B08") else SIDE // 2)
        scenes.append(dataclasses.replace(item, assets=assets))
    items = ItemList(every.season, geobox.extent.to_crs("EPSG:4326").json, tuple(scenes))
    rng = np.random.default_rng(0)
    X = features_at(items, geobox, *rng.integers(0, SIDE, (2, 1500)))
    X = X[~np.isnan(X).any(1)]
    ndvi = X[:, FEATURE_ORDER_V1.index("ndvi_peak_mean")]
    y = np.array(legend().ids[:4])[np.searchsorted(np.quantile(ndvi, (0.25, 0.5, 0.75)), ndvi)]
    fields = np.arange(len(y)) % 40
    parts = {APPLICABLE: Applicability.fit(X, np.ones(51), grouped_folds(fields, y, n=4), y).to_bytes()}
    Ensemble(legend(), rounds=4).fit(X, y, groups=fields).save(folder / "bundle", parts=parts)
    return {"bundle": folder / "bundle", "items": items, "geobox": geobox, "window_px": WINDOW, "min_clear": 3}


def content(folder: Path) -> dict[str, bytes]:
    "Files that a reader sees."
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


def make(folder: Path, world: dict[str, Any], **how: Any) -> dict[str, bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    map_area(**world | {"out": folder / "map.tif"} | how)
    assert {path.name for path in folder.iterdir()} == set(FILES)  # and nothing hidden
    return content(folder)


@pytest.fixture(scope="module")
def whole(world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    "The files of a map that nobody disturbed."
    return make(tmp_path_factory.mktemp("whole"), world)


@pytest.fixture(scope="module")
def older(world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    "The files of a map of other bytes, which lay there before."
    found = make(tmp_path_factory.mktemp("older"), world, min_clear=5)
    assert set(found) == set(FILES)
    return found


def put_there(files: dict[str, bytes], folder: Path) -> None:
    for name, text in files.items():
        (folder / name).write_bytes(text)


def of_item(page: bytes) -> str:
    "The checksum that an item states of its map."
    return json.loads(page)["assets"]["map"]["file:checksum"].removeprefix("1220")


def digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


class Told:
    "What a map says of its progress."

    def __init__(self) -> None:
        self.steps: list[int] = []  # Pixels done, each time

    def __call__(self, done: int, total: int) -> None:
        assert total == SIDE * SIDE and (not self.steps or done > self.steps[-1])
        self.steps.append(done)

    @property
    def computed(self) -> int:
        "Windows that were not there before."
        return len(self.steps) - 1


def computed_so_far(folder: Path) -> int:
    "Windows in the list of an unfinished map."
    path = folder / WINDOWS
    return max(path.read_bytes().count(b"\n") - 1, 0) if path.exists() else 0


# --- killed ----------------------------------------------------------------------------------------------------------

RENAMED = ("os.rename", "map.tif")  # the moment at which a new map appears


@pytest.fixture(scope="module")
def moments(world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[Moment]:
    "Twenty: while it loads and plans, reads and computes and paints, compresses, describes, and tidies up."
    folder, rng = tmp_path_factory.mktemp("deeds"), random.Random(20)
    deeds = mortal.deeds(folder, world | {"out": folder / "map.tif"})
    at = {(event, name): seconds for event, name, seconds in deeds}
    painted, drawn = ("open", "pixels.raw"), ("open", "pixels.vrt")
    painting_s, drawing_s = at[drawn] - at[painted], at[RENAMED] - at[drawn]
    after = len(deeds) - 1 - [deed[:2] for deed in deeds].index(RENAMED)  # deeds with files after the map appeared
    assert deeds[-1][0] == "os.rmdir" and after > 20
    return [
        Moment(None, rng.randrange(3)),
        *(Moment(painted, delay_s=rng.uniform(0, painting_s)) for _ in range(7)),
        *(Moment(drawn, delay_s=rng.uniform(0, drawing_s)) for _ in range(4)),
        Moment(RENAMED),  # the draft is whole and checked
        *(Moment(RENAMED, place) for place in sorted(rng.sample(range(1, after), 7))),
    ]


@pytest.mark.parametrize("turn", range(20))
def test_a_map_that_was_killed_goes_on_and_has_the_same_bytes(
    turn: int, moments: list[Moment], world: dict, whole: dict, older: dict, tmp_path: Path
):
    before = older if turn % 2 else {}  # every other one replaces a map
    put_there(before, tmp_path)
    how = world | {"out": tmp_path / "map.tif"}
    assert len(moments) == 20 and (mortal.die(tmp_path, how, moments[turn]) or moments[turn].delay_s > 0)
    seen = content(tmp_path)
    for name, text in seen.items():
        assert text in (before.get(name), whole[name]), name
    if "map.json" in seen and "map.tif" in seen:  # a new map beside an old item says so
        agree = (seen["map.tif"] == whole["map.tif"]) == (seen["map.json"] == whole["map.json"])
        assert (of_item(seen["map.json"]) == digest(seen["map.tif"])) == agree
    there, told = computed_so_far(tmp_path), Told()
    if (tmp_path / WINDOWS).exists() or seen != whole:  # or else it had come to its end
        assert make(tmp_path, world, progress=told) == whole
        assert told.computed == len(plan(world["items"], world["geobox"], WINDOW)) - there
        if moments[turn].anchor == RENAMED and (tmp_path / WINDOWS).exists():
            assert told.computed == 0


def test_whoever_looks_while_it_runs_sees_whole_files_only(world: dict, whole: dict, older: dict, tmp_path: Path):
    put_there(older, tmp_path)
    process, _ = mortal.begin(tmp_path, world | {"out": tmp_path / "map.tif"})
    seen: dict[str, list[bytes]] = {name: [] for name in FILES}
    looks = 0
    while process.is_alive():
        for name, text in content(tmp_path).items():
            looks += 1
            if text not in seen[name]:
                seen[name].append(text)
    assert process.exitcode == 0 and looks > 100 and content(tmp_path) == whole
    for name, texts in seen.items():
        assert texts[0] == older[name] and set(texts) <= {older[name], whole[name]}, name


# --- the same map, whatever the way ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("window_px", "threads"), [(None, 1), (100, 3), (SIDE, 2)])
def test_windows_and_threads_are_not_seen_in_a_map(
    window_px: int | None, threads: int, world: dict, whole: dict, tmp_path: Path
):
    assert make(tmp_path, world, window_px=window_px, threads=threads) == whole


def test_a_map_that_goes_on_with_other_windows_is_the_same(world: dict, whole: dict, tmp_path: Path):
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise Enough

    for window_px in (WINDOW, 100):
        with pytest.raises(Enough):
            make(tmp_path, world, window_px=window_px, progress=stop)
    assert make(tmp_path, world) == whole


def test_the_tags_say_all_that_decides_the_pixels(world: dict, whole: dict, older: dict, tmp_path: Path):
    put_there(whole, tmp_path)
    with rasterio.open(tmp_path / "map.tif") as tif:
        tags, names = tif.tags(), tif.descriptions
    assert names == tuple(PRODUCT_BANDS)
    items, page = world["items"], json.loads((world["bundle"] / "bundle.json").read_text())
    assert tags["GEOCROP_ITEMS"].split() == [item.id for item in items]
    assert tags["GEOCROP_ITEMS_SHA256"] == items.sha256
    assert tags["GEOCROP_MODEL_SHA256"] == digest((world["bundle"] / "bundle.json").read_bytes())
    assert tags["GEOCROP_MODEL"] == page["name"]
    assert json.loads(tags["GEOCROP_AREA"]) == json.loads(json.dumps(items.area))
    assert (tags["GEOCROP_MIN_CLEAR"], tags["GEOCROP_SEASON"].split()[0]) == ("3", "2022")
    assert (tags["GEOCROP_CLEAR_SCL"], float(tags["GEOCROP_DILATION_M"])) == ("4 5 6 7", 0)
    said = json.loads(whole["map.json"])["properties"]
    assert {k.lower().replace("geocrop_", "geocrop:"): v for k, v in tags.items() if k.startswith("GEOCROP")} == {
        k: v for k, v in said.items() if k.startswith("geocrop:")
    }
    usual = {"items": items, "min_clear": 3, "mask": V1_MASK}
    assert asked(**usual).items() <= tags.items()
    for change in (
        {"min_clear": 4},
        {"mask": Mask(dilation_m=20)},
        {"mask": Mask(clear_scl=(4, 5))},
        {"items": dataclasses.replace(items, items=items.items[1:])},
        {"items": dataclasses.replace(items, area=world["geobox"][:200].extent.to_crs("EPSG:4326").json)},
    ):
        assert not asked(**usual | change).items() <= tags.items(), change


def test_another_map_does_not_go_on_with_a_canvas(world: dict, older: dict, tmp_path: Path):
    how = world | {"out": tmp_path / "map.tif"}
    assert mortal.die(tmp_path, how, Moment(("open", "pixels.vrt")))
    assert computed_so_far(tmp_path) == len(plan(world["items"], world["geobox"], WINDOW))
    told = Told()
    assert make(tmp_path, world, min_clear=5, progress=told) == older
    assert told.steps[0] == 0


# --- scenes that cannot be read --------------------------------------------------------------------------------------


@pytest.fixture
def archive(world: dict, tmp_path: Path) -> tuple[dict, Path]:
    "The same scenes in a folder of their own, to be spoilt."
    folder = tmp_path / "archive"
    source = Path(world["items"].items[0].assets["SCL"]).parents[1]
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("bundle"))
    scenes = tuple(
        dataclasses.replace(item, assets={a: str(folder / item.id / f"{a}.tif") for a in ASSETS})
        for item in world["items"]
    )
    return world | {"items": dataclasses.replace(world["items"], items=scenes)}, folder


def spoil(path: Path, row: int, col: int) -> Callable[[], None]:
    "Overwrite the beginning of the tile at a pixel; how to mend it."
    from geocrop.tiff import Archive

    tiff = Archive().header(str(path))
    begin, good = int(tiff.offsets[row // 64, col // 64]), path.read_bytes()
    path.write_bytes(good[:begin] + b"\xff" * 8 + good[begin + 8 :])
    return lambda: path.write_bytes(good) and None


def clear_scene(items: ItemList) -> Item:
    "One that shows nearly everything."

    def clear(item: Item) -> float:
        with rasterio.open(item.assets["SCL"]) as scl:
            return float(np.isin(scl.read(1), (4, 5, 6, 7)).mean())

    best = max(items, key=clear)
    assert clear(best) > 0.9
    return best


@pytest.mark.parametrize("asset", ["B04", "B11", "SCL"])
def test_one_broken_tile_stops_no_other_window(asset: str, archive: tuple, whole: dict, tmp_path: Path):
    world, folder = archive
    out, windows = tmp_path / "out", plan(world["items"], world["geobox"], WINDOW)
    item = clear_scene(world["items"])
    at = (160, 160) if asset == "B04" else (40, 40)  # the tile from 128 to 192, or that of the first block
    mend = spoil(folder / item.id / f"{asset}.tif", *at)
    with pytest.raises(ProductError) as caught:
        make(out, world)
    assert item.id in caught.value.found and asset in caught.value.found
    assert not content(out)
    there = computed_so_far(out)
    failed = int(caught.value.thing.split()[0])
    untried = int(re.search(r"(\d+) windows were not tried|$", caught.value.expected)[1] or 0)
    assert failed + untried + there == len(windows)
    touched = 4 if asset == "B04" else 16  # where a tile of 10 m shows, and the blocks where one of 20 m does
    assert 1 <= failed + untried <= touched, caught.value
    if asset == "B04":
        assert "row 127, column 127" in caught.value.found
    mend()
    told = Told()
    assert make(out, world, progress=told) == whole
    assert told.computed == failed + untried


def test_a_truncated_file_is_named_and_mended(archive: tuple, whole: dict, tmp_path: Path):
    world, folder = archive
    path = folder / clear_scene(world["items"]).id / "B08.tif"
    good = path.read_bytes()
    path.write_bytes(good[:-200])
    with pytest.raises(ProductError, match=rf"{path.parent.name}, B08: .*ends too early"):
        make(tmp_path / "out", world)
    there = computed_so_far(tmp_path / "out")
    path.write_bytes(good)
    told = Told()
    assert make(tmp_path / "out", world, progress=told) == whole
    assert told.computed == len(plan(world["items"], world["geobox"], WINDOW)) - there == 1


def served(world: dict, server: ranges.Archive, folder: Path) -> dict:
    scenes = tuple(
        dataclasses.replace(item, assets={a: server.href(folder / item.id / f"{a}.tif") for a in ASSETS})
        for item in world["items"]
    )
    return world | {"items": dataclasses.replace(world["items"], items=scenes)}


@pytest.mark.parametrize("fault", ["busy", "cut", "missing", "short"])
def test_what_happens_once_is_healed(fault: str, archive: tuple, whole: dict, tmp_path: Path):
    world, folder = archive
    with ranges.serve(folder) as server:
        server.fault, server.among, server.first, server.times = fault, "/B08.tif", 60, 1
        assert make(tmp_path / "out", served(world, server, folder)) == whole
        assert server.times == 0  # it did happen


def test_an_archive_that_is_gone_is_given_up_soon(archive: tuple, whole: dict, tmp_path: Path):
    world, folder = archive
    windows = plan(world["items"], world["geobox"], WINDOW)
    with ranges.serve(folder) as server:
        server.fault, server.among, server.first = "missing", "/B08.tif", 60
        with pytest.raises(ProductError, match=f"^{MOST_FAILED} of {len(windows)} windows") as caught:
            make(tmp_path / "out", served(world, server, folder))
    there = computed_so_far(tmp_path / "out")
    assert 0 < there < len(windows) - MOST_FAILED
    assert f"{len(windows) - there - MOST_FAILED} windows were not tried" in caught.value.expected
    told = Told()
    assert make(tmp_path / "out", world, progress=told) == whole  # where the files lie has no say in the map
    assert told.computed == len(windows) - there


# --- disks -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def disk(folder: Path, size_kb: int, *options: str) -> Iterator[Path]:
    "A small disk of its own; a skip where that is not allowed."
    folder.mkdir(exist_ok=True)
    wanted = ",".join([f"size={size_kb}k", *options])
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", wanted, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk to fill up: mount says {done.stderr.strip()!r}; it takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_is_too_small_says_so_before_the_work(world: dict, tmp_path: Path):
    told = Told()
    with disk(tmp_path / "disk", 1000) as small:
        with pytest.raises(ProductError, match=r"[\d.]+ MB free on the disk; expected [\d.]+ MB") as caught:
            map_area(**world | {"out": small / "map.tif", "progress": told})
        assert list(small.iterdir()) == [] and not told.steps
    assert "Free some" in caught.value.remedy


@pytest.mark.parametrize("left_kb", [0, 60, 150])
def test_a_disk_that_fills_up_half_way_costs_nothing_but_time(
    left_kb: int, world: dict, whole: dict, older: dict, tmp_path: Path
):
    "Somebody else fills it while we paint, up to what a part of the COG takes."
    with disk(tmp_path / "disk", 2500) as small:
        put_there(older, small)
        ballast = small / "ballast"

        def fill(done: int, total: int) -> None:
            if done > total / 2 and not ballast.exists():
                with contextlib.suppress(OSError):
                    ballast.write_bytes(bytes(shutil.disk_usage(small).free))
                os.truncate(ballast, ballast.stat().st_size - 1024 * left_kb)

        with pytest.raises(ProductError, match="on a disk with room") as caught:
            map_area(**world | {"out": small / "map.tif", "progress": fill})
        assert caught.value.thing in ("map.tif", ".map.tif.unfinished")
        ballast.unlink()
        assert content(small) == older
        assert {path.name for path in small.iterdir()} == {*FILES, ".map.tif.unfinished"}
        there, told = computed_so_far(small), Told()
        map_area(**world | {"out": small / "map.tif", "progress": told})
        assert content(small) == whole
        assert there > 0 and there + told.computed == len(plan(world["items"], world["geobox"], WINDOW))


def test_a_file_that_the_disk_took_a_part_of_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    "Where the last kilobytes are missing GDAL reports nothing; found at the sizes from too small to large enough."
    monkeypatch.setattr(cog, "ROOM", 1.0)  # as if the room were taken by somebody else, later
    geobox = GeoBox.from_bbox((0, 0, 3000, 3000), "EPSG:32736", resolution=10)
    image = np.random.default_rng(0).integers(0, 255, (5, 300, 300)).astype(np.uint8)

    def write(folder: Path) -> bytes:
        bands = {f"band {number}": "noise" for number in range(5)}
        with cog.writer(folder / "map.tif", geobox, dtype=np.uint8, nodata=255, bands=bands) as painted:
            painted.put(slice(0, 300), slice(0, 300), image)
        return (folder / "map.tif").read_bytes()

    good, refused = write(tmp_path), 0
    (tmp_path / "map.tif").unlink()
    for size_kb in range(1200, 1800, 12):
        with disk(tmp_path / "disk", size_kb) as small:
            try:
                assert write(small) == good
            except ProductError:
                refused += 1
                assert content(small) == {}
    assert 10 < refused < 45


def test_a_file_that_may_not_grow_is_told(world: dict, tmp_path: Path):
    "A limit on the size of files, as an account on a shared machine may have it: before the work, not after hours."
    told = Told()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, old[1]))
    try:
        with pytest.raises(ProductError, match="File too large"):
            map_area(**world | {"out": tmp_path / "map.tif", "progress": told})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert not told.steps and not content(tmp_path)


def test_an_output_that_cannot_be_written_is_named(world: dict, tmp_path: Path):
    told = Told()

    def refused(out: Path, match: str) -> None:
        with pytest.raises(ProductError, match=match):
            map_area(**world | {"out": out, "progress": told})

    (tmp_path / "taken.tif").mkdir()
    (tmp_path / "taken.tif/mine").write_text("a year of work")
    refused(tmp_path / "taken.tif", "taken.tif: found a folder")
    assert (tmp_path / "taken.tif/mine").read_text() == "a year of work"
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file/map.tif", "map.tif")
    for name in ("map.tiff", "map", "map.TIF", ".tif"):
        refused(tmp_path / name, "expected .tif")
    with disk(tmp_path / "readonly", 4000) as small:
        subprocess.run(["mount", "-o", "remount,ro", small], check=True)
        refused(small / "map.tif", "[Rr]ead-only file system")
    assert not told.steps and {path.name for path in tmp_path.iterdir()} == {"taken.tif", "file", "readonly"}


def test_two_at_once_do_not_disturb_each_other(world: dict, whole: dict, tmp_path: Path):
    how = world | {"out": tmp_path / "map.tif"}
    process, _ = mortal.begin(tmp_path, how)
    while process.is_alive() and not computed_so_far(tmp_path):
        pass
    os.kill(process.pid, signal.SIGSTOP)  # long enough to be met
    try:
        there = computed_so_far(tmp_path)
        with pytest.raises(ProductError, match="another process at work"):
            map_area(**how)
        assert computed_so_far(tmp_path) == there > 0
    finally:
        os.kill(process.pid, signal.SIGCONT)
    process.join()
    assert process.exitcode == 0 and content(tmp_path) == whole
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)


# --- the canvas ------------------------------------------------------------------------------------------------------

SHAPE = (2, 24, 30)
TILES = [(slice(y, y + 8), slice(x, x + 10)) for y, x in itertools.product(range(0, 24, 8), range(0, 30, 10))]
WAYS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, len(TILES) - 1), st.integers(0, 254)),
    st.tuples(st.just("kill"), st.just(0), st.just(0)),
    st.tuples(st.just("cut list"), st.integers(0, 400), st.just(0)),
    st.tuples(st.just("spoil list"), st.integers(0, 400), st.integers(1, 255)),
    st.tuples(st.just("spoil pixels"), st.integers(0, 2 * 24 * 30 - 1), st.integers(1, 255)),
    st.tuples(st.just("cut pixels"), st.integers(0, 2 * 24 * 30), st.just(0)),
    st.tuples(st.just("half put"), st.integers(0, len(TILES) - 1), st.integers(0, 254)),
)


def opened(folder: Path, identity: str = "maize") -> cog.Canvas:
    return cog.Canvas(folder, SHAPE, np.uint8, 255, identity)


@given(ways=st.lists(WAYS, max_size=25))
@settings(max_examples=150, deadline=None)
def test_a_canvas_claims_no_window_but_as_it_was_put(tmp_path_factory: pytest.TempPathFactory, ways: list):
    folder = tmp_path_factory.mktemp("canvas") / "unfinished"
    put: dict[int, np.ndarray] = {}
    canvas, spoilt = opened(folder), False

    def agrees() -> None:
        for number, tile in enumerate(TILES):
            if canvas.has(*tile):
                np.testing.assert_array_equal(canvas.read(*tile), put[number])
            else:
                assert spoilt or number not in put  # and forgets none without a reason

    for way, place, value in ways:
        if way == "put":
            block = np.random.default_rng(value).integers(0, 255, (2, 8, 10)).astype(np.uint8)
            canvas.put(*TILES[place], block)
            put[place] = block
            continue
        canvas.close()
        page, pixels = folder / "windows.txt", folder / "pixels.raw"
        if way == "half put":  # pixels of a window that the list does not have yet
            image = np.frombuffer(pixels.read_bytes(), np.uint8).copy()
            if image.size == np.prod(SHAPE):
                image.reshape(SHAPE)[0, *TILES[place]] = value
                pixels.write_bytes(image.tobytes())
        elif way != "kill":
            path = page if way.endswith("list") else pixels
            data = bytearray(path.read_bytes())
            if way.startswith("cut"):
                data = data[:place]
            elif place < len(data):
                data[place] ^= value
            path.write_bytes(data)
        spoilt |= way != "kill"
        canvas = opened(folder)
        agrees()
    agrees()
    canvas.close()


def test_a_line_of_the_list_that_was_cut_short_does_no_harm(tmp_path: Path):
    block = np.full((2, 8, 10), 7, np.uint8)
    canvas = opened(tmp_path / "c")
    canvas.put(*TILES[0], block)
    canvas.put(*TILES[1], block)
    canvas.close()
    page = tmp_path / "c/windows.txt"
    page.write_bytes(page.read_bytes()[:-4])
    for tile in TILES[1:3]:
        canvas = opened(tmp_path / "c")
        assert canvas.has(*TILES[0]) and not canvas.has(*tile)
        canvas.put(*tile, block)
        canvas.close()
    canvas = opened(tmp_path / "c")
    assert [canvas.has(*tile) for tile in TILES[:4]] == [True, True, True, False]
    canvas.close()


def test_a_canvas_of_another_identity_begins_anew(tmp_path: Path):
    canvas = opened(tmp_path / "c")
    canvas.put(*TILES[0], np.zeros((2, 8, 10), np.uint8))
    canvas.close()
    canvas = opened(tmp_path / "c", "tobacco")
    assert not canvas.has(*TILES[0]) and (canvas.read(*TILES[0]) == 255).all()
    canvas.close()


def test_who_comes_while_a_canvas_is_discarded_gets_one_of_his_own(tmp_path: Path):
    "Four who come again and again: each finds a canvas that nobody takes away, or is told that it is taken."

    def one(value: int) -> int:
        "How often it was taken, before it was free."
        for times in itertools.count():
            try:
                with cog.canvas(tmp_path / "map.tif", SHAPE, dtype=np.uint8, fill=255, identity=f"{value}") as painted:
                    for tile in TILES:
                        painted.put(*tile, np.full((2, 8, 10), value, np.uint8))
                    assert (tmp_path / ".map.tif.unfinished/pixels.raw").read_bytes() == bytes([value]) * 1440
                return times
            except ProductError as error:
                assert "another process at work" in str(error)
                time.sleep(1e-4)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(one, range(200))) > 20
    assert list(tmp_path.iterdir()) == []
