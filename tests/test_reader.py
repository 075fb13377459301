"""The reader that follows tiles against GDAL, stackstac and odc-stac; its streams, its faults, its memory."""

import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
import threading
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import odc.stac
import pystac
import pytest
import ranges
import rasterio
import swift_s3
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.geom import box, point
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

from geocrop import cube, stream, tiff
from geocrop.clouds import Mask
from geocrop.features import season_features
from geocrop.items import Item, ItemList, save
from geocrop.kernels import StoredSeason, dates, definition_v1, features_v1
from geocrop.reader import COARSE, FINE, IN_FLIGHT, Memory, Window, plan, read, read_cube, sizes
from geocrop.schema import FEATURE_BANDS, FEATURE_ORDER_V1, CubeError, GeocropError, Season
from geocrop.store import read_bytes
from geocrop.stream import features_at, stream_features
from geocrop.tiff import Archive

SEASON = Season(2022)
EPSG, LEFT, TOP = 32736, 228_000, 8_000_000  # upper left corner of the first tile: 60 km east of the next zone
ASSETS = {"B02": 10, "B04": 10, "B05": 20, "B08": 10, "B11": 20, "SCL": 20}  # and the side of their pixels, metres
CLEAR, CLOUD = 4, 9
LAYOUT = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", "predictor": 2}


# --- an archive ------------------------------------------------------------------------------------------------------


def north_up(left: float, top: float, pixel_m: float) -> rasterio.Affine:
    return rasterio.Affine(pixel_m, 0, left, 0, -pixel_m, top)


def write(path: Path, bands: NDArray, pixel_m: int, left: float, top: float, epsg: int, **layout: Any) -> None:
    "A GeoTIFF of bands (band, y, x), 0 = no data."
    layout = {"driver": "GTiff", "nodata": 0, "crs": f"EPSG:{epsg}"} | LAYOUT | layout
    layout = {name: value for name, value in layout.items() if value is not None}
    if layout["driver"] == "COG":
        layout = {name: value for name, value in layout.items() if name not in ("tiled", "blockxsize", "blockysize")}
    size = dict(zip(("count", "height", "width"), bands.shape, strict=True)) | {"dtype": bands.dtype}
    with rasterio.open(path, "w", transform=north_up(left, top, pixel_m), **size, **layout) as file:
        file.write(bands)


def scene(
    folder: Path,
    name: str,  # Id; what is random depends on it alone
    day: float,  # Since 1 September
    *,
    left: float = LEFT,
    top: float = TOP,
    shape: tuple[int, int] = (200, 200),  # Pixels of 10 m
    epsg: int = EPSG,
    holes: float = 0.0,  # Share of pixels without data
    wedge: bool = False,  # Whether the swath ends within the tile
    cloud: float = 0.3,  # Share of pixels under cloud
    classes: NDArray[np.uint8] | None = None,  # SCL itself, pixels of 20 m
    scl_m: int = 20,
    most: int = 65_536,  # Digital numbers are less
    offset_dn: int = 0,
    **layout: Any,
) -> Item:
    "A scene of noise: every mistake in place, weight or rounding shows."
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    (folder / name).mkdir()
    for asset, pixel_m in (ASSETS | {"SCL": scl_m}).items():
        size = tuple(-(-n * 10 // pixel_m) for n in shape)
        if asset == "SCL":
            values = np.where(rng.random(size) < cloud, CLOUD, rng.integers(4, 8, size)).astype(np.uint8)
            values = values if classes is None else classes
        else:
            values = rng.integers(1, most, size).astype(np.uint16)
            values[rng.random(size) < holes] = 0
        y, x = np.indices(size) * pixel_m
        if wedge:
            values[x + 0.4 * y > 7 * shape[1]] = 0
        write(folder / name / f"{asset}.tif", values[None], pixel_m, left, top, epsg, **layout)
    outline = box(left, top - 10 * shape[0], left + 10 * shape[1], top, crs=f"EPSG:{epsg}").to_crs("EPSG:4326")
    moment = dt.datetime(2022, 9, 1, 8) + dt.timedelta(days=day)
    return Item(
        id=name, datetime=moment.isoformat(timespec="milliseconds") + "Z", epsg=epsg, tile="36KTF",
        platform="sentinel-2a", baseline="05.09", sequence=0, cloud_pct=10.0, offset_dn=offset_dn,
        geometry=dict(outline.json), assets={asset: str(folder / name / f"{asset}.tif") for asset in ASSETS},
    )  # fmt: skip


def season(*found: Item) -> ItemList:
    return ItemList(SEASON, found[0].geometry, tuple(sorted(found, key=lambda item: item.datetime)))


def grid(down: int, across: int, rows: int, cols: int) -> GeoBox:
    "A grid by pixels of 10 m from the corner of the first tile."
    corner = (LEFT + 10 * across, TOP - 10 * down)
    return GeoBox((rows, cols), north_up(*corner, 10), f"EPSG:{EPSG}")


def other_zone() -> tuple[float, float]:
    "Upper left corner, on the grid of zone 35, of a tile that lies across the first one's middle."
    x, y = point(LEFT + 1500, TOP - 1500, crs=f"EPSG:{EPSG}").to_crs("EPSG:32735").coords[0]
    return round(x / 20) * 20 - 1500, round(y / 20) * 20 + 1500


@pytest.fixture(scope="module")
def two_tiles(tmp_path_factory: pytest.TempPathFactory) -> ItemList:
    "Two tiles whose grids differ by an odd number of pixels; holes of all kinds."
    folder = tmp_path_factory.mktemp("two_tiles")
    second = {"left": LEFT + 1510, "top": TOP + 490, "shape": (151, 133)}
    return season(
        scene(folder, "whole", 0),
        scene(folder, "freckled", 20, holes=0.1),
        scene(folder, "ragged", 40, holes=0.6, offset_dn=-1000),
        scene(folder, "wedge", 60, wedge=True),
        scene(folder, "nothing", 80, holes=1.0),
        scene(folder, "sharp_classes", 100, scl_m=10, shape=(200, 187)),
        scene(folder, "second", 21, **second),
        scene(folder, "second_wedge", 61, wedge=True, holes=0.05, **second),
    )


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> ItemList:
    "Nine dates of one tile and three of another, with as much cloud and as many holes as a season has."
    folder = tmp_path_factory.mktemp("months")
    first = {"shape": (300, 300), "most": 6000}
    second = {"left": LEFT + 1010, "top": TOP - 490, "shape": (260, 240), "most": 6000}
    return season(
        *(
            scene(
                folder, f"a{i}", 25 * i, holes=0.02 * (i % 3 == 0), wedge=i % 4 == 3, offset_dn=-1000 * (i % 2), **first
            )
            for i in range(9)
        ),
        *(scene(folder, f"b{i}", 70 * i + 25, **second) for i in range(3)),
    )


# --- how it is compared ----------------------------------------------------------------------------------------------


def same_cube(found: ItemList, geobox: GeoBox, **how: Any) -> xr.Dataset:
    "Read both ways; every number, name, type and coordinate must agree."
    slow, fast = cube.fetch(cube.load_cube(found, geobox)), read_cube(found, geobox, **how)
    xr.testing.assert_identical(fast, slow)
    for name in (*slow.data_vars, *slow.coords):
        assert fast[name].dtype == slow[name].dtype, name
    return fast


def features(found: ItemList, geobox: GeoBox, **how: Any) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    "Features and clear days put together from strips, each pixel exactly once."
    out = np.full((len(FEATURE_ORDER_V1), *geobox.shape), -99, np.float32)
    days, times = np.full(geobox.shape, 999, np.uint16), np.zeros(geobox.shape, int)
    for strip in stream_features(found, geobox, **how):
        out[:, strip.rows, strip.cols], days[strip.rows, strip.cols] = strip.features, strip.clear_days
        times[strip.rows, strip.cols] += 1
    assert (times == 1).all()
    return out, days


def arrays(season_cube: xr.Dataset) -> tuple[NDArray[np.int64], NDArray[np.uint16], dict[str, Any]]:
    "Days, digital numbers, scale and offset of a cube."
    days = (season_cube.time.values.astype("datetime64[D]") - np.datetime64(SEASON.first)).astype(np.int64)
    dn = np.stack([season_cube[name].values for name in FEATURE_BANDS], 1)
    return days, dn, {"scale": season_cube.scale.values, "offset": season_cube.offset.values}


def masked(found: ItemList, geobox: GeoBox, mask: Mask) -> NDArray[np.float32]:
    "Features with the mask applied to a cube that is larger than the grid by the mask's reach."
    reach, (rows, cols) = mask.reach_px, geobox.shape
    wide = read_cube(found, geobox.pad(reach) if reach else geobox)
    inner = np.s_[..., reach : reach + rows, reach : reach + cols]
    days, dn, how = arrays(wide)
    scl = mask.apply(wide.SCL.values)[inner]
    return features_v1(days, np.ascontiguousarray(dn[inner]), np.ascontiguousarray(scl), **how)


@contextlib.contextmanager
def no_thread_is_left() -> Iterator[None]:
    "Threads of the test's own server aside."
    before = set(threading.enumerate())
    yield
    left = [t.name for t in threading.enumerate() if t not in before and "process_request_thread" not in t.name]
    assert not left


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, tuple[int, int], int]]:
    "Every tile that is read: item, asset, tile, bytes."
    seen, original = [], Archive.read

    def counted(self: Archive, header: tiff.Tiff, tile: tuple[int, int]):
        data = original(self, header, tile)
        seen.append((Path(header.href).parent.name, Path(header.href).stem, tile, len(data)))
        return data

    monkeypatch.setattr(Archive, "read", counted)
    return seen


def run(script: str, *arguments: object, patience_s: float = 120, **environment: str) -> str:
    "What a fresh interpreter prints."
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True, text=True, timeout=patience_s, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


# --- the numbers of 20 m on pixels of 10 m ---------------------------------------------------------------------------


@pytest.mark.parametrize("holes", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("case", range(8))
def test_coarse_bands_are_doubled_as_gdal_does_it(case: int, holes: float):
    rng = np.random.default_rng(case)
    side = 30 + case
    images = rng.integers(1, 65_536, (2, 2, side, side)).astype(np.uint16)
    images[rng.random(images.shape) < holes] = 0
    down, across = 4 + case % 2, 6 + case // 2 % 2  # even and odd pixels of 10 m from the image's corner
    height, width = ((1, 37), (36, 1), (2, 3), (33, 40))[case // 2 % 4]
    first, left = down // 2 - 1, across // 2 - 1
    part = np.s_[:, :, first : first + height // 2 + 3, left : left + width // 2 + 3]
    coarse = np.ascontiguousarray(images[part])
    stored = StoredSeason(
        fine=rng.integers(1, 5000, (2, 3, height, width)).astype(np.uint16),
        coarse=coarse,
        source=np.arange(2),
        corner=np.tile([[down - 2 * first, across - 2 * left]], (2, 1)),
        holes=(coarse == 0).any((2, 3)),
        warped=np.zeros((0, 2, height, width), np.uint16),
        scl=rng.choice(np.array([4, 5, 9], np.uint8), (2, height, width)),
        scl_m=10,
        scl_corner=np.zeros((2, 2), np.int64),
    )
    found = stored.dn()
    profile = {"driver": "GTiff", "count": 1, "height": side, "width": side, "dtype": "uint16", "nodata": 0}
    there = {"crs": f"EPSG:{EPSG}", "transform": north_up(LEFT + 10 * across, TOP - 10 * down, 10)}
    for t, band in np.ndindex(2, 2):
        with MemoryFile() as memory:
            with memory.open(**profile, crs=f"EPSG:{EPSG}", transform=north_up(LEFT, TOP, 20)) as file:
                file.write(images[t, band], 1)
            # without XSCALE, GDAL takes some very small windows for a reduction in size, and widens its kernel
            options = {"resampling": Resampling.bilinear, "width": width, "height": height, "XSCALE": 1, "YSCALE": 1}
            with memory.open() as file, WarpedVRT(file, **options, **there) as warped:
                expected = warped.read(1, masked=True).filled(0)
        np.testing.assert_array_equal(found[t, [2, 4][band]], expected)
    np.testing.assert_array_equal(found[:, [0, 1, 3]], stored.fine)
    careful = dataclasses.replace(stored, holes=np.ones((2, 2), bool))  # the way for images with holes, for all
    np.testing.assert_array_equal(careful.dn(), found)


@pytest.mark.parametrize("width", [1, 67, 8193])  # the last: wider than what the kernel doubles at a time
@pytest.mark.parametrize("scl_m", [10, 20])
def test_features_of_some_rows_are_those_of_the_digital_numbers(scl_m: int, width: int):
    rng = np.random.default_rng(4)
    n, height = 6, 41 if width < 8000 else 3
    corner = rng.integers(2, 4, (n, 2))
    scl_corner = rng.integers(0, 2, (n, 2)) if scl_m == 20 else rng.integers(0, 9, (n, 2))
    size = (height // 2 + 3, width // 2 + 3) if scl_m == 20 else (height + 9, width + 9)
    coarse = rng.integers(0, 5000, (n, 2, height // 2 + 3, width // 2 + 3)).astype(np.uint16)
    coarse[::2] += 1
    source = np.array([3, 1, -2, 0, 4, -1])
    stored = StoredSeason(
        rng.integers(0, 5000, (n, 3, height, width)).astype(np.uint16), coarse, source, corner,
        (coarse == 0).any((2, 3)), rng.integers(0, 5000, (2, 2, height, width)).astype(np.uint16),
        rng.integers(3, 9, (n, *size)).astype(np.uint8), scl_m, scl_corner,
    )  # fmt: skip
    days = np.array([40, 10, 10, 90, 150, 260])
    when = dates(days, offset=[0, 0, -0.1, 0, 0, 0])
    expected = features_v1(days, stored.dn(), stored.classes(), offset=[0, 0, -0.1, 0, 0, 0])
    assert 0.1 < np.isnan(expected[0]).mean() < 0.9
    for rows in (None, slice(0, 1), slice(1, height - 1), slice(height - 1, height)):
        found, count = stored.features(when, rows)
        part = expected[:, rows or slice(None)]
        np.testing.assert_array_equal(found, part)
        np.testing.assert_array_equal(np.isnan(found[0]), count < 3)
    dn = stored.dn()
    np.testing.assert_array_equal(dn[2][[2, 4]], stored.warped[1])
    np.testing.assert_array_equal(dn[5][[2, 4]], stored.warped[0])
    np.testing.assert_array_equal(stored.classes()[2], stored.scl[2].repeat(scl_m // 10, 0).repeat(scl_m // 10, 1)[
        scl_corner[2, 0] : scl_corner[2, 0] + height, scl_corner[2, 1] : scl_corner[2, 1] + width])  # fmt: skip


# --- a cube, both ways -----------------------------------------------------------------------------------------------


@given(
    down=st.integers(-130, 230), across=st.integers(-130, 300), rows=st.integers(1, 110), cols=st.integers(1, 110),
    chosen=st.sets(st.integers(0, 7), min_size=1, max_size=4), threads=st.integers(1, 3),
)  # fmt: skip
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_window_is_read_as_stackstac_reads_it(two_tiles: ItemList, down, across, rows, cols, chosen, threads):
    some = dataclasses.replace(two_tiles, items=tuple(two_tiles.items[i] for i in sorted(chosen)))
    geobox = grid(down, across, rows, cols)
    try:
        same_cube(some, geobox, threads=threads)
    except CubeError as error:
        assert not cube.overlapping(some, geobox), error


@pytest.mark.parametrize(
    "window",
    [
        (-20, -20, 330, 330),  # larger than all images
        (64, 64, 64, 64),  # one tile
        (63, 65, 66, 62),
        (0, 0, 1, 1),  # single pixels, at corners
        (199, 199, 1, 1),
        (-1, -1, 1, 1),  # beside the image
        (200, 3, 1, 40),
        (-5, 20, 6, 3),  # one row of the image, five beyond it
        (199, 20, 6, 3),
        (20, -7, 3, 8),
        (20, 199, 3, 8),
    ],
)
def test_windows_at_the_edges_of_images(two_tiles: ItemList, window: tuple[int, int, int, int]):
    fast = same_cube(two_tiles, grid(*window))
    assert fast.B02.shape[1:] == window[2:]


LAYOUTS = {
    "LZW": {"compress": "lzw"},
    "zstd": {"compress": "zstd"},
    "deflate without differences": {"predictor": 1},
    "uncompressed": {"compress": None, "predictor": None},
    "big-endian": {"ENDIANNESS": "BIG"},
    "big-endian, uncompressed": {"ENDIANNESS": "BIG", "compress": None, "predictor": None},
    "tiles of 128": {"blockxsize": 128, "blockysize": 128},
    "tiles of 256": {"blockxsize": 256, "blockysize": 256},
    "oblong tiles": {"blockxsize": 64, "blockysize": 16},
    "sparse": {"SPARSE_OK": "TRUE", "holes": 1.0},
    "sparse wedge": {"SPARSE_OK": "TRUE", "wedge": True, "blockxsize": 16, "blockysize": 16},
    "BigTIFF": {"BIGTIFF": "YES"},
    "COG": {"driver": "COG", "predictor": "YES", "blocksize": 64},
    "no data undeclared": {"nodata": None},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_as_stackstac_reads_it(layout: str, tmp_path: Path):
    options = {"shape": (150, 170), "holes": 0.02} | LAYOUTS[layout]
    found = season(scene(tmp_path, "one", 10, **options), scene(tmp_path, "two", 30, **(options | {"holes": 0})))
    same_cube(found, grid(-5, -11, 110, 190))
    same_cube(found, grid(40, 45, 31, 64))
    if "SPARSE_OK" in options:
        assert (Archive().header(found.items[0].assets["B11"]).counts == 0).any()


def test_a_corner_that_names_the_middle_of_its_pixel(tmp_path: Path):
    found = season(scene(tmp_path, "point", 10, AREA_OR_POINT="Point"))
    for href in found.items[0].assets.values():
        with rasterio.open(href, "r+") as file:
            file.update_tags(AREA_OR_POINT="Point")
    same_cube(found, grid(20, 31, 50, 50))


def test_scenes_are_read_as_odc_stac_reads_them(two_tiles: ItemList):
    geobox = grid(-20, 33, 170, 200)
    ours = read_cube(two_tiles, geobox)
    for t, item in enumerate(two_tiles):
        theirs = odc.stac.load(
            [_stac(item)], bands=list(ASSETS), geobox=geobox, nodata=0, dtype="uint16",
            resampling={"*": "bilinear", "SCL": "nearest"},
        ).isel(time=0)  # fmt: skip
        for name in (*FINE, "SCL"):
            np.testing.assert_array_equal(ours[name].values[t], theirs[name].values, err_msg=f"{item.id} {name}")
        if item.id in ("whole", "sharp_classes", "second"):  # odc-stac does not weigh around holes as GDAL's warp does
            for name in COARSE:
                a, b = ours[name].values[t].astype(int), theirs[name].values.astype(int)
                assert np.abs(a - b)[(a > 0) & (b > 0)].max() <= 1
                np.testing.assert_array_equal(a > 0, b > 0)


def _stac(item: Item) -> pystac.Item:
    "An item as STAC, with what odc-stac wants to know of its files."
    made = pystac.Item(item.id, item.geometry, None, item.moment, {"proj:code": f"EPSG:{item.epsg}"})
    for name, href in item.assets.items():
        with rasterio.open(href) as file:
            place = {"proj:shape": list(file.shape), "proj:transform": list(file.transform)[:6]}
            made.add_asset(
                name, pystac.Asset(href, media_type=pystac.MediaType.COG, roles=["data"], extra_fields=place)
            )
    made.stac_extensions = ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"]
    return made


# --- scenes of other grids -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> ItemList:
    "Scenes of the grid, of the next zone, and of a grid shifted by half a pixel."
    folder = tmp_path_factory.mktemp("mixed")
    size = {"shape": (300, 300), "most": 6000, "cloud": 0.05}
    left, top = other_zone()
    return season(
        *(scene(folder, f"here{i}", 40 * i, holes=0.05 * i, **size) for i in range(3)),
        *(
            scene(folder, f"zone{i}", 40 * i + 9, left=left, top=top, epsg=32735, holes=0.05 * i, **size)
            for i in range(3)
        ),
        scene(folder, "shifted", 130, left=LEFT + 5, **size),
    )


@pytest.mark.parametrize(
    "window", [(10, 10, 250, 250), (-20, -30, 350, 400), (35, 41, 37, 53), (90, 100, 3, 2), (200, 200, 1, 1)]
)
def test_scenes_of_other_grids_are_read_as_stackstac_reads_them(mixed: ItemList, window: tuple[int, int, int, int]):
    same_cube(mixed, grid(*window))


@pytest.mark.parametrize("window_px", [50, 64, 100])
@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(Mask(), id="no dilation"),
        pytest.param(Mask(50), id="50 m"),
    ],
)
def test_scenes_of_other_grids_are_the_same_in_all_windows(mixed: ItemList, mask: Mask, window_px: int):
    geobox = grid(13, 29, 150, 140)
    found, _ = features(mixed, geobox, window_px=window_px, mask=mask)
    np.testing.assert_array_equal(found, masked(mixed, geobox, mask))
    assert np.isfinite(found).mean() > 0.1


def test_a_season_of_another_zone_alone(mixed: ItemList):
    away = dataclasses.replace(mixed, items=tuple(item for item in mixed if item.epsg != EPSG))
    geobox = grid(30, 30, 120, 130)
    same_cube(away, geobox)
    found, _ = features(away, geobox)
    again, _ = features(away, geobox, window_px=70)
    np.testing.assert_array_equal(again, found)
    assert np.isfinite(found).any()


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected(months: ItemList) -> Callable[[GeoBox], NDArray[np.float32]]:
    "Features of a grid by the other way: a cube, then its features."
    known: dict[GeoBox, NDArray[np.float32]] = {}

    def find(geobox: GeoBox) -> NDArray[np.float32]:
        if geobox not in known:
            whole = read_cube(months, geobox)
            known[geobox] = season_features(whole, SEASON).values
            days, dn, how = arrays(whole)
            np.testing.assert_array_equal(features_v1(days, dn, whole.SCL.values, **how), known[geobox])
        return known[geobox]

    return find


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("window_px", [50, 64, 100, 128, 200, None])
def test_windows_and_threads_do_not_show(months: ItemList, expected: Callable, window_px: int | None, threads: int):
    for geobox in (grid(3, 13, 260, 250), grid(-13, -21, 140, 203))[: 1 + (threads == 2)]:
        found, days = features(months, geobox, window_px=window_px, threads=threads)
        assert found.tobytes() == expected(geobox).tobytes()
        np.testing.assert_array_equal(days < 3, np.isnan(found).all(0))
        np.testing.assert_array_equal(days < 3, np.isnan(found).any(0))


def test_one_memory_for_many_readings(months: ItemList, expected: Callable):
    memory, archive = Memory(), Archive()
    for geobox, window_px in ((grid(3, 13, 130, 90), 64), (grid(3, 13, 260, 250), 128), (grid(3, 13, 130, 90), None)):
        found, _ = features(months, geobox, window_px=window_px, memory=memory, archive=archive)
        assert found.tobytes() == expected(geobox).tobytes()
    first, second = (
        next(read(plan(months, geobox), SEASON, memory=memory)).stored for geobox in (grid(0, 0, 64, 64),) * 2
    )
    assert np.shares_memory(first.fine, second.fine) and np.shares_memory(first.coarse, second.coarse)


def test_strips_of_any_height(months: ItemList, expected: Callable, monkeypatch: pytest.MonkeyPatch):
    geobox = grid(3, 13, 260, 250)
    for strip_px in (1, 1000, 7777):
        monkeypatch.setattr(stream, "STRIP_PX", strip_px)
        found, _ = features(months, geobox, window_px=200)
        assert found.tobytes() == expected(geobox).tobytes()


def test_clear_days_are_days_not_scenes(two_tiles: ItemList, tmp_path: Path):
    again = scene(tmp_path, "same_day", 20.1, holes=0.3)
    found = season(*(item for item in two_tiles if item.offset_dn == 0), again)
    geobox = grid(-20, 100, 150, 160)
    whole = read_cube(found, geobox)
    days, dn, how = arrays(whole)
    clear = np.isin(whole.SCL.values, (4, 5, 6, 7)) & (dn > 0).all(1)
    count = sum(clear[days == day].any(0).astype(int) for day in set(days.tolist()))
    for least in (1, 2, 4):
        found_, found_days = features(found, geobox, min_clear=least, window_px=64)
        np.testing.assert_array_equal(found_days, count)
        np.testing.assert_array_equal(np.isnan(found_).all(0), count < least)
        np.testing.assert_array_equal(
            found_, features_v1(days, dn, whole.SCL.values, min_clear=least, **how), err_msg=str(least)
        )


def test_of_two_scenes_of_a_day_the_first_counts_each_with_its_own_offset(tmp_path: Path):
    size = {"shape": (70, 80), "most": 6000, "cloud": 0.1}
    found = season(
        *(scene(tmp_path, f"d{i}", 30 * i, **size) for i in range(5)),
        *(scene(tmp_path, f"twice{i}", 30 * i + 0.1, offset_dn=-1000, **size) for i in range(3)),
    )
    geobox = grid(2, 3, 60, 70)
    whole = read_cube(found, geobox)
    days, dn, how = arrays(whole)
    assert days.tolist() == [0, 0, 30, 30, 60, 60, 90, 120] and how["offset"].tolist() == [0, -0.1] * 3 + [0, 0]
    values, _ = features(found, geobox, window_px=33)
    exact = definition_v1(days, dn, whole.SCL.values, **how)
    for name, a, b in zip(FEATURE_ORDER_V1, values, exact, strict=True):
        if not name.endswith("peak_step"):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-2 if name.endswith("auc") else 1e-4, err_msg=name)
    unshifted, _ = features(dataclasses.replace(found, items=tuple(
        dataclasses.replace(item, offset_dn=0) for item in found)), geobox, window_px=33)  # fmt: skip
    assert (unshifted != values).any()


def test_chosen_pixels_in_any_order_and_only_their_windows(months: ItemList, expected: Callable, reads: list):
    geobox = grid(3, 13, 260, 250)
    whole = expected(geobox)
    rng = np.random.default_rng(6)
    rows, cols = rng.integers(0, 260, 50), rng.integers(0, 250, 50)
    rows[10], cols[10] = rows[40], cols[40]
    for window_px in (64, None):
        found = features_at(months, geobox, rows, cols, window_px=window_px)
        np.testing.assert_array_equal(found, whole[:, rows, cols].T)
    assert features_at(months, geobox, rows[:0], cols[:0]).shape == (0, 51)
    reads.clear()
    features_at(months, geobox, np.array([5, 7]), np.array([5, 9]), window_px=64)  # beside one corner
    assert {tile for item, asset, tile, _ in reads if item[0] == "a" and asset in FINE} == {(0, 0)}


# --- what is read ----------------------------------------------------------------------------------------------------


def test_windows_share_the_grid_out_along_the_tiles(months: ItemList):
    for down, across, size in ((0, 0, 64), (3, 13, 64), (-50, 100, 64), (3, 13, 50), (3, 13, None)):
        geobox = grid(down, across, 260, 250)
        times = np.zeros(geobox.shape, int)
        for window in plan(months, geobox, size):
            times[window.rows, window.cols] += 1
            assert window.grid == geobox[window.rows, window.cols]
            assert list(window.items) == cube.overlapping(months, window.grid)
            for first, last, start in ((*_ends(window.rows), down), (*_ends(window.cols), across)):
                if size == 64:  # from one pixel before a line of the tiles to two before the next
                    at_end = (last + 1) in geobox.shape
                    assert (first + start + 1) // 64 == (last + start + (0 if at_end else 1)) // 64
        assert (times == 1).all()


ENDLESS = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # what it would fill otherwise
from geocrop import cube, items, reader
from geocrop.schema import GeocropError
found = items.load(sys.argv[1])
try:
    reader.plan(found, cube.grid(found)[:64, :64], -64)
except GeocropError as error:
    print("refused")
"""


def test_windows_of_negative_side_are_refused(sound: ItemList, tmp_path: Path):
    save(sound, tmp_path / "items.json")
    assert run(ENDLESS, tmp_path / "items.json", patience_s=60).strip() == "refused"


@pytest.mark.parametrize("threads", [0, -1])
def test_a_reading_without_threads_is_refused(sound: ItemList, threads: int):
    geobox, one = grid(0, 0, 50, 60), np.array([5])
    for attempt in (
        lambda: list(read(plan(sound, geobox), SEASON, threads=threads)),
        lambda: read_cube(sound, geobox, threads=threads),
        lambda: list(stream_features(sound, geobox, threads=threads)),
        lambda: features_at(sound, geobox, one, one, threads=threads),
        lambda: cube.fetch(cube.load_cube(sound, geobox), threads),
    ):
        with pytest.raises(CubeError, match=f"threads: found {threads}; expected 1 or more"):
            attempt()


@pytest.mark.parametrize("epsg", [32736, 32735])  # of some scenes, and of the others: there all is reprojected
@pytest.mark.parametrize("turn", [GeoBox.flipy, GeoBox.flipx, lambda upright: upright.rotate(90)])
def test_a_grid_whose_rows_do_not_run_from_the_north_is_refused(
    mixed: ItemList, turn: Callable[[GeoBox], GeoBox], epsg: int
):
    geobox, one = turn(grid(13, 29, 60, 70).to_crs(epsg, resolution=10)), np.array([5])
    for attempt in (
        lambda: plan(mixed, geobox),
        lambda: read_cube(mixed, geobox),
        lambda: list(stream_features(mixed, geobox)),
        lambda: features_at(mixed, geobox, one, one),
        lambda: sizes(mixed, geobox),
        lambda: cube.load_cube(mixed, geobox),
    ):
        with pytest.raises(CubeError, match=r"Grid .*expected columns to the east, rows to the south"):
            attempt()


def test_a_pixel_outside_the_grid_is_refused(sound: ItemList):
    for row, col in ((-1, 3), (3, -1), (50, 3), (3, 60)):
        with pytest.raises(GeocropError):
            features_at(sound, grid(0, 0, 50, 60), np.array([5, row]), np.array([5, col]))


def _ends(part: slice) -> tuple[int, int]:
    return part.start, part.stop - 1


@pytest.mark.parametrize("corner", [(0, 0), (37, 91), (37, 90), (-20, -50)])
@pytest.mark.parametrize("window_px", [64, 128, None])
def test_a_tile_is_not_decompressed_more_often_than_said(
    tmp_path: Path, reads: list, corner: tuple[int, int], window_px: int | None
):
    "Once; those of 20 m, which four windows share, for each two of them."
    found = season(*(scene(tmp_path, f"t{i}", 20 * i, shape=(400, 400), wedge=i == 2) for i in range(3)))
    # more than one block in each direction: a tile of the 20 m bands lies beside others that come later
    features(found, grid(*corner, 270, 280), window_px=window_px)
    times: dict[str, Counter] = defaultdict(Counter)
    for item, asset, tile, _ in reads:
        times[asset][item, tile] += 1
    most = {asset: max(counts.values()) for asset, counts in times.items()}
    shared = 2 if window_px == 64 else 1  # larger windows are as wide as a tile of 20 m
    assert most == {asset: 1 if asset in FINE else shared for asset in ASSETS}


def test_what_is_hidden_in_a_window_is_not_read_there(tmp_path: Path, reads: list):
    half = np.full((128, 128), CLEAR, np.uint8)
    half[:, 64:] = CLOUD
    size = {"shape": (256, 256), "most": 6000}
    found = season(
        *(scene(tmp_path, f"open{i}", 40 * i, **size) for i in range(4)),
        scene(tmp_path, "half", 15, classes=half, **size),
        scene(tmp_path, "closed", 25, cloud=1.0, **size),
    )
    geobox = grid(0, 0, 256, 256)
    values, days = features(found, geobox, window_px=64)
    assert not [seen for seen in reads if seen[0] == "closed" and seen[1] != "SCL"]
    assert {tile[1] for item, asset, tile, _ in reads if item == "half" and asset in FINE} == {0, 1}
    assert {tile[1] for item, asset, tile, _ in reads if item == "open0" and asset in FINE} == {0, 1, 2, 3}

    reads.clear()
    for reading in read(plan(found, geobox, 64), SEASON, hidden=True):
        all_values, all_days = reading.stored.features(reading.when)
        where = np.s_[..., reading.window.rows, reading.window.cols]
        np.testing.assert_array_equal(all_values, values[where])
        np.testing.assert_array_equal(all_days, days[where])
        assert reading.items == found.items
    assert {tile[1] for item, asset, tile, _ in reads if item == "closed" and asset in FINE} == {0, 1, 2, 3}


def test_a_cloud_that_dilation_closes_hides_a_scene(tmp_path: Path, reads: list):
    gaps = np.full((64, 64), CLOUD, np.uint8)
    gaps[::8] = CLEAR  # strips of 20 m: none is left by 50 m
    size = {"shape": (128, 128), "most": 6000}
    found = season(*(scene(tmp_path, f"open{i}", 40 * i, cloud=0, **size) for i in range(3)),
                   scene(tmp_path, "gaps", 15, classes=gaps, **size))  # fmt: skip
    geobox = grid(0, 0, 128, 128)
    _, days = features(found, geobox, mask=Mask(50), window_px=64)
    assert (days == 3).all() and not [seen for seen in reads if seen[0] == "gaps" and seen[1] != "SCL"]
    _, days = features(found, geobox, window_px=64)
    assert (days == 4).any() and [seen for seen in reads if seen[0] == "gaps" and seen[1] == "B02"]


def test_sizes_are_the_bytes_that_a_window_reads(mixed: ItemList, tmp_path: Path, reads: list):
    sparse = scene(tmp_path, "sparse", 44, wedge=True, SPARSE_OK="TRUE", shape=(300, 300))
    far = scene(tmp_path, "far", 45, left=LEFT + 50_000)
    found = season(*mixed, sparse, far)
    for geobox in (grid(17, 33, 150, 140), grid(64, 64, 64, 64), grid(-40, -50, 400, 400), grid(62, 129, 3, 1)):
        announced = sizes(found, geobox)
        assert list(announced) == [item.id for item in found]
        reads.clear()
        here = tuple(cube.overlapping(found, geobox))
        list(
            read(
                [Window(slice(0, geobox.shape[0]), slice(0, geobox.shape[1]), geobox, here, geobox)],
                SEASON,
                hidden=True,
            )
        )
        by_item = Counter()
        for item, _, _, size in reads:
            by_item[item] += size
        native = {item.id for item in found if item.epsg == EPSG and item.id not in ("shifted", "far")}
        assert {item: by_item[item] for item in native} == {item: announced[item] for item in native}
        assert announced["far"] == by_item["far"] == 0
    for item in found:  # of another grid: whole files
        if item.id not in native and item.id != "far":
            whole = sum(int(Archive().header(href).counts.sum()) for href in item.assets.values())
            assert announced[item.id] == whole > 0


# --- clouds are widened across the edges of windows ------------------------------------------------------------------


@pytest.fixture(scope="module")
def speckled(tmp_path_factory: pytest.TempPathFactory) -> ItemList:
    "Few clouds of one pixel, in SCL of 20 m and of 10 m, on two tiles of odd distance."
    folder = tmp_path_factory.mktemp("speckled")
    size = {"shape": (260, 260), "most": 6000, "cloud": 0.02}
    return season(
        *(scene(folder, f"s{i}", 25 * i, wedge=i == 3, **size) for i in range(6)),
        *(scene(folder, f"t{i}", 50 * i + 7, left=LEFT + 1010, top=TOP - 490, **size) for i in range(2)),
        scene(folder, "sharp", 60, scl_m=10, **size),
    )


@pytest.mark.parametrize(
    "mask", [Mask(9), Mask(20), Mask(50), Mask(73), Mask(0, (4, 5)), Mask(15, (2, 4, 5, 7))], ids=str
)
def test_a_mask_is_applied_across_windows(speckled: ItemList, mask: Mask):
    for geobox in (grid(20, 31, 150, 140), grid(-13, -21, 130, 203)):
        wanted = masked(speckled, geobox, mask)
        for window_px in (50, 64, None):
            found, days = features(speckled, geobox, mask=mask, window_px=window_px)
            np.testing.assert_array_equal(found, wanted, err_msg=f"{window_px}")
            np.testing.assert_array_equal(np.isnan(found).all(0), days < 3)
        assert np.isfinite(wanted[0]).any()
        assert mask == Mask(9) or not np.array_equal(wanted, masked(speckled, geobox, Mask()), equal_nan=True)


@pytest.mark.parametrize("mask", [Mask(), Mask(50), Mask(73)], ids=str)
def test_a_large_grid_cropped_is_a_small_grid(speckled: ItemList, mask: Mask):
    large, days = features(speckled, grid(-30, -20, 300, 310), mask=mask, window_px=100)
    for down, across, rows, cols in ((20, 31, 150, 140), (-30, 60, 90, 50), (100, 101, 1, 1)):
        found, count = features(speckled, grid(down, across, rows, cols), mask=mask)
        part = np.s_[..., down + 30 : down + 30 + rows, across + 20 : across + 20 + cols]
        np.testing.assert_array_equal(found, large[part])
        np.testing.assert_array_equal(count, days[part])


def test_a_cloud_beyond_the_edge_of_the_grid_counts(tmp_path: Path):
    classes = np.full((100, 100), CLEAR, np.uint8)
    classes[50, 50] = CLOUD  # rows and columns 100 and 101 of 10 m
    size = {"shape": (200, 200), "most": 6000}
    found = season(*(scene(tmp_path, f"free{i}", 40 * i, cloud=0, **size) for i in range(3)),
                   scene(tmp_path, "one_cloud", 15, classes=classes, **size))  # fmt: skip
    _, days = features(found, grid(60, 105, 60, 30), mask=Mask(50))  # begins 40 m right of the cloud
    hidden = np.argwhere(days == 3) + np.array([60, 105])
    assert (days >= 3).all() and hidden.tolist() == [
        [y, x] for y in range(95, 107) for x in (105, 106) if (x - 101) ** 2 + max(100 - y, y - 101, 0) ** 2 <= 25
    ]


# --- ground that no scene shows --------------------------------------------------------------------------------------


def test_windows_without_scenes_are_not_a_number(months: ItemList):
    geobox = grid(100, -700, 60, 900)  # 7 km west of the tile
    parts = plan(months, geobox, 100)
    assert {len(part.items) > 0 for part in parts} == {True, False}
    found, days = features(months, geobox, window_px=100)
    assert np.isnan(found[:, :, :700]).all() and (days[:, :700] == 0).all()
    assert np.isfinite(found[:, :, 720:]).any() and (days[:, 720:] > 0).any()
    inside, _ = features(months, grid(100, 0, 60, 200))
    np.testing.assert_array_equal(found[:, :, 700:], inside)
    for part in parts:
        if not part.items:  # alone, too
            (strip,) = list(stream_features(months, geobox, windows=[part]))
            assert np.isnan(strip.features).all() and not strip.clear_days.any()


def test_no_scene_at_all_is_an_error(months: ItemList):
    nowhere, empty = grid(30_000, 0, 40, 40), dataclasses.replace(months, items=())
    for found, geobox in ((months, nowhere), (empty, grid(0, 0, 40, 40))):
        for ask in (read_cube, lambda *how: list(stream_features(*how)), plan):
            with pytest.raises(CubeError, match="no scene over it"):
                ask(found, geobox)
    assert list(read([], SEASON)) == []


# --- damaged files ---------------------------------------------------------------------------------------------------


def _noise(raw: bytes) -> bytes:
    keep = 700  # the header
    return raw[:keep] + np.random.default_rng(1).integers(0, 256, len(raw) - keep, np.uint8).tobytes()


def _rewrite(path: Path, **layout: Any) -> None:
    with rasterio.open(path) as file:
        bands, place = file.read(), (file.transform.a, file.transform.c, file.transform.f, file.crs.to_epsg())
    write(path, bands.repeat(layout.pop("count", 1), 0), *place, **layout)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut in the header": lambda path: path.write_bytes(path.read_bytes()[:150]),
    "cut in the table of tiles": lambda path: path.write_bytes(path.read_bytes()[:300]),
    "cut in a tile": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "noise for tiles": lambda path: path.write_bytes(_noise(path.read_bytes())),
    "stripes": lambda path: _rewrite(path, tiled=False, blockxsize=None, blockysize=8),
    "two bands": lambda path: _rewrite(path, count=2),
    "no TIFF": lambda path: path.write_text("<html>Please log in</html>"),
    "empty": lambda path: path.write_bytes(b""),
    "missing": Path.unlink,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> ItemList:
    folder = tmp_path_factory.mktemp("sound")
    return season(*(scene(folder, f"n{i}", 30 * i, shape=(150, 150), most=6000) for i in range(4)))


@contextlib.contextmanager
def damaged(item: Item, asset: str, damage: Callable[[Path], object]) -> Iterator[None]:
    "Harm a file for a while."
    path = Path(item.assets[asset])
    raw = path.read_bytes()
    damage(path)
    try:
        yield
    finally:
        if path.is_dir():
            path.rmdir()
        path.write_bytes(raw)


@pytest.mark.parametrize("asset", ["B02", "B11", "SCL"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_and_leaves_no_thread(sound: ItemList, asset: str, damage: str):
    geobox = grid(0, 0, 150, 150)
    for item in (sound.items[0], sound.items[2]):
        with damaged(item, asset, DAMAGE[damage]), no_thread_is_left():
            for ask in (read_cube, lambda *how: features(*how, window_px=64)):
                with pytest.raises(CubeError) as caught:
                    ask(sound, geobox)
                assert f"Item {item.id}, {asset}: found" in str(caught.value)
    same_cube(sound, geobox)


@pytest.mark.parametrize("damage", ["cut in a tile", "no TIFF", "empty", "missing"])
def test_a_damaged_file_of_another_grid_is_named(mixed: ItemList, damage: str):
    item = next(item for item in mixed if item.id == "zone1")
    for asset in ("B05", "SCL"):
        with damaged(item, asset, DAMAGE[damage]), no_thread_is_left():
            for ask in (read_cube, features):
                with pytest.raises(CubeError) as caught:
                    ask(mixed, grid(-20, -20, 350, 350))
                assert f"Item {item.id}, {asset}: found" in str(caught.value)


def test_damage_beside_the_grid_is_not_met(sound: ItemList):
    corner = grid(0, 0, 50, 50)
    before, _ = features(sound, corner)
    with damaged(sound.items[1], "B08", DAMAGE["cut in a tile"]):  # the last one
        after, _ = features(sound, corner)
    np.testing.assert_array_equal(after, before)


def test_a_stream_that_is_left_early_leaves_no_thread(months: ItemList):
    geobox = grid(3, 13, 260, 250)
    with no_thread_is_left():
        strips = stream_features(months, geobox, window_px=64)
        next(strips)
        strips.close()
    with no_thread_is_left():
        readings = read(plan(months, geobox, 64), SEASON, threads=3)
        next(readings)
        readings.close()
    with no_thread_is_left(), pytest.raises(ZeroDivisionError):
        for _ in stream_features(months, geobox, window_px=64):
            raise ZeroDivisionError


# --- archives that are far away --------------------------------------------------------------------------------------


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(tiff, "PATIENCE", dt.timedelta(seconds=3))
    monkeypatch.setattr(tiff, "TIMEOUT", "2s")


@pytest.fixture
def web(sound: ItemList, patience: None) -> Iterator[ranges.Archive]:
    with ranges.serve(Path(sound.items[0].assets["SCL"]).parents[1]) as server:
        yield server


def elsewhere(found: ItemList, move: Callable[[Path], str]) -> ItemList:
    "The same scenes at other addresses."
    return dataclasses.replace(found, items=tuple(
        dataclasses.replace(item, assets={name: move(Path(href)) for name, href in item.assets.items()})
        for item in found))  # fmt: skip


FAR = grid(-5, 7, 150, 140)


def test_an_archive_on_the_web_is_read_as_one_on_disk(sound: ItemList, web: ranges.Archive):
    far = elsewhere(sound, web.href)
    web.delay_s = 0.05
    with no_thread_is_left():
        xr.testing.assert_identical(read_cube(far, FAR), read_cube(sound, FAR))
    assert 1 < web.most <= IN_FLIGHT
    assert len(set(web.asked)) == len(web.asked)  # nothing twice
    web.delay_s = 0
    web.asked.clear()
    features(far, FAR, window_px=64)
    assert len(set(web.asked)) == len(web.asked)  # nor what four windows share
    for window_px, threads in ((64, 1), (50, 2), (None, 3)):
        with no_thread_is_left():
            found, days = features(far, FAR, window_px=window_px, threads=threads, mask=Mask(30))
        near, near_days = features(sound, FAR, mask=Mask(30))
        assert found.tobytes() == near.tobytes() and days.tobytes() == near_days.tobytes()
    assert web.most <= IN_FLIGHT
    assert sizes(far, FAR) == sizes(sound, FAR)


def test_more_tiles_than_requests_at_once(months: ItemList, patience: None):
    with ranges.serve(Path(months.items[0].assets["SCL"]).parents[1]) as web:
        web.delay_s = 0.02
        geobox = grid(3, 13, 260, 250)
        found, _ = features(elsewhere(months, web.href), geobox, window_px=128)
        assert len(web.asked) > 10 * IN_FLIGHT and 1 < web.most <= IN_FLIGHT
    assert found.tobytes() == features(months, geobox)[0].tobytes()


@pytest.mark.parametrize(
    "fault, first", [("busy", 0), ("drop", 5), ("busy", 30), ("drop", 31), ("cut", 32), ("silent", 33)]
)  # the first 24 requests are for headers
def test_faults_that_pass_are_survived(sound: ItemList, web: ranges.Archive, fault: str, first: int):
    web.fault, web.first, web.times = fault, first, 1 if fault == "silent" else 3
    with no_thread_is_left():
        found = read_cube(elsewhere(sound, web.href), FAR)
    assert web.times == 0
    xr.testing.assert_identical(found, read_cube(sound, FAR))


@pytest.mark.parametrize(
    "fault, among",
    [
        ("busy", "n2/B08"),
        ("drop", "n1/SCL"),
        ("cut", "n2/B11"),
        ("short", "n1/SCL"),
        ("whole", "n2/B08"),
        ("missing", "n1/SCL"),
        ("silent", "n2/B11"),
    ],
)
def test_faults_that_stay_are_told_with_the_item(sound: ItemList, web: ranges.Archive, fault: str, among: str):
    web.fault, web.among, web.first = fault, among, 1  # its header comes
    with no_thread_is_left(), pytest.raises(CubeError) as caught:
        features(elsewhere(sound, web.href), FAR, window_px=64)
    assert f"Item {among.replace('/', ', ')}: found" in str(caught.value)


def test_a_server_that_fails_for_good(sound: ItemList, web: ranges.Archive):
    web.fault, web.first = "busy", 40
    with no_thread_is_left(), pytest.raises(CubeError, match=r"Item n\d, \w+: found"):
        read_cube(elsewhere(sound, web.href), FAR)


def test_a_far_stream_that_is_left_early_asks_for_no_more(months: ItemList, patience: None):
    with ranges.serve(Path(months.items[0].assets["SCL"]).parents[1]) as web, no_thread_is_left():
        far = elsewhere(months, web.href)
        strips = stream_features(far, grid(3, 13, 260, 250), window_px=64)
        next(strips)
        strips.close()
        asked = len(web.asked)
        assert 0 < asked < 0.8 * len(list(_tiles_of(months, grid(3, 13, 260, 250))))
        assert web.under_way == 0
    assert len(web.asked) == asked


def _tiles_of(found: ItemList, geobox: GeoBox) -> Iterator[tuple[str, tuple[int, int]]]:
    archive = Archive()
    for item in found:
        for href in item.assets.values():
            header = archive.header(href)
            for tile in header.tiles(slice(0, header.shape[0]), slice(0, header.shape[1])):
                yield href, tile


def test_scenes_of_another_grid_on_the_web(mixed: ItemList, patience: None):
    folder, geobox = Path(mixed.items[0].assets["SCL"]).parents[1], grid(13, 29, 60, 70)
    with ranges.serve_apart(folder) as web:
        xr.testing.assert_identical(read_cube(elsewhere(mixed, web.href), geobox), read_cube(mixed, geobox))
    with (
        ranges.serve_apart(folder, "missing", "zone1/B08") as web,
        no_thread_is_left(),
        pytest.raises(CubeError, match="Item zone1, B08: found"),
    ):
        read_cube(elsewhere(mixed, web.href), geobox)


TWICE = """
import sys
from datetime import timedelta
from geocrop import items, reader, tiff
from geocrop.cube import grid
tiff.PATIENCE = timedelta(seconds=6)
found = items.load(sys.argv[1])
geobox = grid(found)
print(reader.read_cube(found, geobox).sizes["time"])
"""


def test_two_items_with_one_file(sound: ItemList, web: ranges.Archive, tmp_path: Path):
    "Such a list is strange; waiting for ever is no answer to it. In a process of its own, which can be ended."
    far = elsewhere(sound, web.href)
    twice = season(*far, *(dataclasses.replace(item, id=f"{item.id}_again") for item in far))
    save(twice, tmp_path / "items.json")
    assert run(TWICE, tmp_path / "items.json", patience_s=30).strip() == "8"


@contextlib.contextmanager
def on_s3(found: ItemList, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ItemList, Any]]:
    "The same scenes in a bucket of a server that the environment names, and a client of it."
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with swift_s3.serve(folder) as server:
        s3 = boto3.client(
            "s3", endpoint_url=server.endpoint, region_name="us-east-1",
            aws_access_key_id=swift_s3.ACCESS_KEY, aws_secret_access_key=swift_s3.SECRET_KEY,
        )  # fmt: skip
        s3.create_bucket(Bucket="archive")
        for item in found:
            for name, href in item.assets.items():
                s3.upload_file(href, "archive", f"{item.id}/{name}.tif")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield elsewhere(found, lambda path: f"s3://archive/{path.parent.name}/{path.name}"), s3


def test_an_s3_server_that_verifies_signatures(
    sound: ItemList, patience: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with on_s3(sound, tmp_path, monkeypatch) as (far, s3):
        xr.testing.assert_identical(read_cube(far, FAR), read_cube(sound, FAR))
        assert features(far, FAR, window_px=64)[0].tobytes() == features(sound, FAR)[0].tobytes()

        s3.delete_object(Bucket="archive", Key="n1/B08.tif")
        with no_thread_is_left(), pytest.raises(CubeError, match="Item n1, B08: found"):
            read_cube(far, FAR)
        raw = Path(sound.items[1].assets["B08"]).read_bytes()
        s3.put_object(Bucket="archive", Key="n1/B08.tif", Body=raw[:-20])
        with no_thread_is_left(), pytest.raises(CubeError, match="Item n1, B08: found"):
            read_cube(far, FAR)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with no_thread_is_left(), pytest.raises(CubeError, match=r"Item n\d, \w+: found.*Permission"):
            read_cube(far, FAR)


def test_scenes_of_another_grid_on_an_s3_server(
    mixed: ItemList, patience: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    some, geobox = dataclasses.replace(mixed, items=mixed.items[:3]), grid(13, 29, 60, 70)
    assert {item.epsg for item in some} == {32735, 32736}
    with on_s3(some, tmp_path, monkeypatch) as (far, _):
        xr.testing.assert_identical(read_cube(far, geobox), read_cube(some, geobox))


def test_an_open_bucket_is_read_without_a_signature(
    sound: ItemList, web: ranges.Archive, monkeypatch: pytest.MonkeyPatch
):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", web.url)
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    far = elsewhere(sound, lambda path: f"s3://{path.parent.name}/{path.name}")  # each folder a bucket
    xr.testing.assert_identical(read_cube(far, FAR), read_cube(sound, FAR))
    monkeypatch.delenv("AWS_NO_SIGN_REQUEST")  # as where there are no keys; a table of labels like a tile
    href = far.items[0].assets["SCL"]
    assert read_bytes(href) == Path(sound.items[0].assets["SCL"]).read_bytes()
    assert Archive().header(href).shape
    unsigned = len(web.asked)
    assert unsigned and web.signed == 0
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    read_cube(far, FAR)
    assert web.signed == len(web.asked) - unsigned > 0


# --- memory and compilation ------------------------------------------------------------------------------------------

STREAM = """
import hashlib, json, resource, sys, threading, tracemalloc
from geocrop import items, stream
from odc.geo.geobox import GeoBox
import rasterio

def digest(found, rows, cols, window_px):
    geobox = GeoBox((rows, cols), rasterio.Affine(10, 0, found[1], 0, -10, found[2]), "EPSG:32736")
    sum_ = hashlib.sha256()
    for strip in stream.stream_features(found[0], geobox, window_px=window_px):
        sum_.update(strip.features.tobytes() + strip.clear_days.tobytes())
    return sum_.hexdigest()

found = items.load(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
"""

MEMORY = """
def peak(rows):
    tracemalloc.start()
    digest(found, rows, 128, 128)
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return traced, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
digest(found, 128, 128, 128)
print(json.dumps([peak(128), peak(2048)]))
"""


def test_memory_does_not_grow_with_the_area(tmp_path: Path):
    small_tiles = {"blockxsize": 16, "blockysize": 16}  # as many as a large area has
    found = season(*(scene(tmp_path, f"m{i}", 40 * i, shape=(2048, 128), most=300, **small_tiles) for i in range(6)))
    save(found, tmp_path / "items.json")
    small, large = json.loads(run(STREAM + MEMORY, tmp_path / "items.json", LEFT, TOP))
    assert large[0] < 1.15 * small[0]  # what Python and NumPy ask for
    assert large[1] < 1.15 * small[1]  # all that the process has


FIRST_USE = """
together, sums = threading.Barrier(2), {}
def use(number):
    together.wait()
    sums[number] = digest(found, 100, 110, 64)
threads = [threading.Thread(target=use, args=(number,)) for number in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*sorted(set(sums.values())))
"""


def test_features_are_the_same_bytes_with_and_without_compiled_kernels(sound: ItemList, tmp_path: Path):
    sum_ = hashlib.sha256()
    for strip in stream_features(sound, grid(0, 0, 100, 110), window_px=64):
        sum_.update(strip.features.tobytes() + strip.clear_days.tobytes())
    save(sound, tmp_path / "items.json")
    (tmp_path / "cache").mkdir()
    found = run(STREAM + FIRST_USE, tmp_path / "items.json", LEFT, TOP, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert found.split() == [sum_.hexdigest()]
    assert list((tmp_path / "cache").rglob("*.nbc"))  # it was empty
