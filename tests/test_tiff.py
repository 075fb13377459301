"""Tiles of GeoTIFFs in every layout against rasterio; files that are damaged, refused, or far away."""

import dataclasses
import io
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import ranges
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from geocrop import tiff
from geocrop.schema import StoreError
from geocrop.store import RETRIES
from geocrop.tiff import Archive, Tiff, decode, parse

NORTH_UP = rasterio.Affine(10, 0, 300_000, 0, -10, 8_000_000)
ROWS, COLS = 150, 170  # of the test image: no multiple of any tile
TILED = {"driver": "GTiff", "tiled": True, "blockxsize": 64, "blockysize": 64}
LAYOUTS = {
    "deflate, differences": {"compress": "deflate", "predictor": 2},
    "deflate": {"compress": "deflate"},
    "LZW, differences": {"compress": "lzw", "predictor": 2},
    "LZW": {"compress": "lzw"},
    "zstd, differences": {"compress": "zstd", "predictor": 2},
    "zstd": {"compress": "zstd"},
    "LZMA": {"compress": "lzma"},
    "packbits": {"compress": "packbits"},
    "LERC": {"compress": "lerc"},
    "uncompressed": {},
    "big-endian deflate, differences": {"compress": "deflate", "predictor": 2, "ENDIANNESS": "BIG"},
    "big-endian LZW": {"compress": "lzw", "ENDIANNESS": "BIG"},
    "big-endian uncompressed": {"ENDIANNESS": "BIG"},
    "tiles of 16": {"compress": "deflate", "predictor": 2, "blockxsize": 16, "blockysize": 16},
    "tiles of 128": {"compress": "deflate", "predictor": 2, "blockxsize": 128, "blockysize": 128},
    "one tile of 256": {"compress": "deflate", "predictor": 2, "blockxsize": 256, "blockysize": 256},
    "wide tiles": {"compress": "deflate", "predictor": 2, "blockxsize": 128, "blockysize": 32},
    "high tiles": {"compress": "deflate", "predictor": 2, "blockxsize": 32, "blockysize": 128},
    "BigTIFF": {"compress": "deflate", "predictor": 2, "BIGTIFF": "YES"},
    "COG with overviews": {"driver": "COG", "blocksize": 64, "compress": "deflate", "predictor": "YES"},
    "12 bits": {"compress": "deflate", "NBITS": 12},
}


def image(dtype: str = "uint16") -> np.ndarray:
    "Noise on a slope; one tile of 64 and one row are empty."
    rng = np.random.default_rng(3)
    values = (np.arange(COLS) * 11 + np.arange(ROWS)[:, None] + rng.integers(1, 1500, (ROWS, COLS))).astype(dtype)
    values[64:128, 64:128] = values[30] = 0
    return values


def write(path: Path, values: np.ndarray, **layout) -> Path:
    "A GeoTIFF with one band, on tiles of 64 pixels where nothing else is said."
    layout = (layout if layout.get("driver") == "COG" else TILED | layout) | {"nodata": 0}
    place = {"crs": "EPSG:32736", "transform": NORTH_UP}
    size = {"count": 1, "height": values.shape[0], "width": values.shape[1], "dtype": values.dtype}
    with rasterio.open(path, "w", **(place | size | layout)) as file:
        file.write(values, 1)
    return path


def tiles(header: Tiff) -> list[tuple[int, int]]:
    return list(header.tiles(slice(0, header.shape[0]), slice(0, header.shape[1])))


def whole(archive: Archive, href: str) -> np.ndarray:
    "An image put together from its tiles."
    header = archive.header(href)
    out = np.full(header.shape, 77, header.dtype)
    for tile in tiles(header):
        part = np.full(header.extent(tile), 77, header.dtype)
        decode(header, tile, archive.read(header, tile), part)
        out[header.place(*tile)] = part
    return out


# --- layouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint16", "uint8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_as_rasterio_reads_it(layout: str, dtype: str, tmp_path: Path):
    options = LAYOUTS[layout]
    if "NBITS" in options and dtype == "uint8":
        options = options | {"NBITS": 4}
    values = image(dtype) % 16 if dtype == "uint8" else image() % 4096
    path = write(tmp_path / "B.tif", values, **options)
    header = Archive().header(str(path))
    with rasterio.open(path) as file:
        assert (header.shape, header.tile, header.epsg) == (file.shape, file.block_shapes[0], file.crs.to_epsg())
        assert (header.corner, header.pixel_m, header.dtype) == ((file.bounds.left, file.bounds.top), 10, dtype)
        np.testing.assert_array_equal(whole(Archive(), str(path)), file.read(1))
    np.testing.assert_array_equal(whole(Archive(), str(path)), values)


@pytest.mark.parametrize("layout", ["deflate, differences", "LZW", "big-endian uncompressed"])
def test_a_tile_is_decoded_into_memory_of_any_shape_order_and_type(layout: str, tmp_path: Path):
    header = Archive().header(str(write(tmp_path / "B.tif", image(), **LAYOUTS[layout])))
    for tile in tiles(header):
        height, width = header.extent(tile)
        data, expected = Archive().read(header, tile), image()[header.place(*tile)]
        around, wide = np.full((height + 4, width + 6), 7, np.uint16), np.zeros((height, width), np.int32)
        turned = np.zeros((width, height), np.uint16).T
        for out in (around[2:-2, 3:-3], turned, wide):
            decode(header, tile, data, out)
            np.testing.assert_array_equal(out, expected)
        around[2:-2, 3:-3] = 7
        assert (around == 7).all()  # nothing beside it was touched


def test_empty_tiles_have_no_bytes_and_are_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "B.tif", image(), SPARSE_OK="TRUE", **LAYOUTS["deflate, differences"])
    header = Archive().header(str(path))
    assert (header.offsets[1, 1], header.counts[1, 1]) == (0, 0)
    assert (header.counts > 0).sum() == header.counts.size - 1
    np.testing.assert_array_equal(whole(Archive(), str(path)), image())
    path.unlink()
    assert Archive().read(header, (1, 1)) == b""  # without asking for it


def test_tiles_of_a_range_are_those_that_it_touches(tmp_path: Path):
    header = Archive().header(str(write(tmp_path / "B.tif", image())))
    assert list(header.tiles(slice(63, 64), slice(64, 65))) == [(0, 1)]
    assert list(header.tiles(slice(63, 65), slice(127, 129))) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert tiles(header) == [(i, j) for i in range(3) for j in range(3)]
    assert header.extent((2, 2)) == (ROWS - 128, COLS - 128)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_part_of_a_tile_and_its_last_row_and_column(layout: str, tmp_path: Path):
    values = image() % 4096
    archive = Archive()
    header = archive.header(str(write(tmp_path / "B.tif", values, **LAYOUTS[layout])))
    for tile in header.tiles(slice(0, header.shape[0]), slice(0, header.shape[1])):
        whole = values[header.place(*tile)]
        for rows, cols in ((whole.shape[0], whole.shape[1]), (whole.shape[0] - 1, whole.shape[1] - 1), (3, 5)):
            out = np.full((rows + 2, cols + 3), 77, np.uint16)
            edges = decode(header, tile, archive.read(header, tile), out[1:-1, 1:-2])
            np.testing.assert_array_equal(out[1:-1, 1:-2], whole[:rows, :cols])
            assert edges and (out == 77).sum() >= out.size - rows * cols
            np.testing.assert_array_equal(edges.bottom, whole[-1])
            np.testing.assert_array_equal(edges.right, whole[:, -1])
        assert decode(header, tile, archive.read(header, tile), out[1:-1, 1:-2], edges=False) is None


def test_many_threads_decode_one_file(tmp_path: Path):
    archive, expected = Archive(), image()
    path = str(write(tmp_path / "B.tif", expected, **LAYOUTS["zstd, differences"]))
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: whole(archive, path), range(24)):
            np.testing.assert_array_equal(found, expected)


def test_a_long_table_of_tiles_is_read_without_a_word(
    tmp_path: Path, archive_server: ranges.Archive, caplog: pytest.LogCaptureFixture
):
    values = np.zeros((1600, 1600), np.uint16)
    values[1590:, 1590:] = 7
    path = write(archive_server.folder / "B.tif", values, SPARSE_OK="TRUE", blockxsize=16, blockysize=16)
    archive = Archive()
    header = archive.header(archive_server.href(path))
    assert header.counts.nbytes > tiff.HEAD_BYTES[0] and len(archive_server.asked) == 2
    part = np.zeros((16, 16), np.uint16)
    decode(header, (99, 99), archive.read(header, (99, 99)), part)
    np.testing.assert_array_equal(part, values[-16:, -16:])
    assert caplog.messages == []  # that the first 32 KB were too few is no news


# --- what is refused -------------------------------------------------------------------------------------------------


def _plain_text(path: Path) -> None:
    path.write_text("<html>Please log in</html>" * 100)


def _two_bands(path: Path, interleave: str) -> None:
    place = {"crs": "EPSG:32736", "transform": NORTH_UP}
    size = {"count": 2, "height": ROWS, "width": COLS, "dtype": "uint16", "interleave": interleave}
    with rasterio.open(path, "w", **(TILED | place | size)) as file:
        file.write(np.stack([image(), image()]))


REFUSED = {
    "striped": lambda path: write(path, image(), tiled=False, blockxsize=COLS, blockysize=8),
    "two bands, pixel by pixel": lambda path: _two_bands(path, "pixel"),
    "two bands, one after the other": lambda path: _two_bands(path, "band"),
    "degrees": lambda path: write(
        path, image(), crs="EPSG:4326", transform=rasterio.Affine(1e-4, 0, 30, 0, -1e-4, -17)
    ),
    "oblong pixels": lambda path: write(path, image(), transform=rasterio.Affine(10, 0, 3e5, 0, -20, 8e6)),
    "turned": lambda path: write(path, image(), transform=NORTH_UP @ rasterio.Affine.rotation(9)),
    "upside down": lambda path: write(path, image(), transform=rasterio.Affine(10, 0, 3e5, 0, 10, 8e6)),
    "reflectance as fractions": lambda path: write(path, image().astype("float32") / 10_000),
    "no TIFF": _plain_text,
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "empty": lambda path: path.write_bytes(b""),
    "a folder": Path.mkdir,
    "missing": lambda path: None,
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_by_tiles_is_refused_by_name(what: str, tmp_path: Path):
    path = tmp_path / "B.tif"
    REFUSED[what](path)
    with pytest.raises(StoreError, match="cannot be read") as caught:
        Archive().header(str(path))
    assert str(path) in str(caught.value)


# --- damage ----------------------------------------------------------------------------------------------------------

CHECKED = ["deflate, differences", "deflate", "LZW, differences", "zstd", "LZMA", "big-endian deflate, differences"]


@pytest.mark.parametrize("layout", ["deflate, differences", "BigTIFF", "COG with overviews", "uncompressed"])
def test_a_header_that_breaks_off_is_refused_or_was_whole(layout: str, tmp_path: Path):
    raw = write(tmp_path / "B.tif", image(), **LAYOUTS[layout]).read_bytes()
    good = parse("B.tif", io.BytesIO(raw))
    refused = 0
    for length in range(0, int(good.offsets.min()) + 40, 3):
        try:
            found = parse("B.tif", io.BytesIO(raw[:length]))
        except StoreError:
            refused += 1
            continue
        assert (found.shape, found.tile, found.corner, found.epsg) == (good.shape, good.tile, good.corner, good.epsg)
        np.testing.assert_array_equal(found.offsets, good.offsets)
        np.testing.assert_array_equal(found.counts, good.counts)
    assert refused > 50


@cache
def stored(layout: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder) / "B.tif", image(), **LAYOUTS[layout]).read_bytes()


@given(
    layout=st.sampled_from(["deflate, differences", "LZW", "BigTIFF", "COG with overviews", "big-endian uncompressed"]),
    changes=st.dictionaries(st.integers(0, 480), st.sampled_from([0, 1, 2, 127, 255]), min_size=1, max_size=3),
)
@settings(max_examples=500, deadline=None, derandomize=True)
def test_altered_headers_raise_nothing_but_store_errors(layout: str, changes: dict[int, int]):
    raw = bytearray(stored(layout))
    for place, byte in changes.items():
        raw[place] = byte
    try:
        header = parse("B.tif", io.BytesIO(raw))
        for tile in tiles(header)[:9]:
            begin, size = int(header.offsets[tile]), int(header.counts[tile])
            height, width = header.extent(tile)
            if height * width < 1_000_000:
                decode(header, tile, bytes(raw[begin : begin + size]), np.empty((height, width), np.uint16))
    except StoreError as error:
        assert "B.tif" in str(error)


@pytest.mark.parametrize("where", [(0, 0), (2, 2)], ids=["whole tile", "tile at the corner"])
@pytest.mark.parametrize("layout", CHECKED)
def test_damaged_tiles_are_refused_by_name(layout: str, where: tuple[int, int], tmp_path: Path):
    path = write(tmp_path / "B.tif", image(), **LAYOUTS[layout])
    header = Archive().header(str(path))
    data = Archive().read(header, where)
    noise = np.random.default_rng(5).integers(0, 256, len(data), np.uint8).tobytes()
    for damaged in (data[: len(data) // 2], data[:1], noise, bytes(len(data))):
        with pytest.raises(StoreError, match="cannot be decompressed") as caught:
            decode(header, where, damaged, np.empty(header.extent(where), np.uint16))
        assert str(path) in str(caught.value) and str(where) in str(caught.value)


@pytest.mark.parametrize("where", [(0, 0), (2, 2)])
def test_an_uncompressed_tile_of_too_few_bytes_is_refused(where: tuple[int, int], tmp_path: Path):
    header = Archive().header(str(write(tmp_path / "B.tif", image())))
    data = Archive().read(header, where)
    with pytest.raises(StoreError, match="cannot be decompressed"):
        decode(header, where, data[:-2], np.empty(header.extent(where), np.uint16))


def test_a_tile_beyond_the_end_of_the_file_is_refused(tmp_path: Path):
    path = write(tmp_path / "B.tif", image(), **LAYOUTS["deflate, differences"])
    archive = Archive()
    header = archive.header(str(path))
    for wrong in (
        dataclasses.replace(header, counts=header.counts + 10_000_000),
        dataclasses.replace(header, offsets=header.offsets + 10_000_000),
    ):
        with pytest.raises(StoreError, match="ends too early"):
            archive.read(wrong, (0, 0))
    path.write_bytes(path.read_bytes()[: int(header.offsets[2, 2]) + 5])
    with pytest.raises(StoreError, match=r"5 of the \d+ bytes"):
        archive.read(header, (2, 2))
    path.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        archive.read(header, (0, 0))


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.fixture
def archive_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ranges.Archive]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(tiff, "PATIENCE", timedelta(seconds=3))
    monkeypatch.setattr(tiff, "TIMEOUT", "2s")
    (tmp_path / "web").mkdir()
    with ranges.serve(tmp_path / "web") as server:
        yield server


def test_file_addresses(tmp_path: Path):
    path = write(tmp_path / "B 08 %41 ü.tif", image())
    for href in (str(path), path.as_uri()):
        np.testing.assert_array_equal(whole(Archive(), href), image())


@pytest.mark.parametrize("name", ["a b", "ü", "a+b", "year=2022", "a%b", "a#b", "a[~]"])
def test_names_on_the_web_may_hold_any_letter(name: str, archive_server: ranges.Archive):
    path = write(archive_server.folder / f"{name}.tif", image(), **LAYOUTS["deflate, differences"])
    np.testing.assert_array_equal(whole(Archive(), f"{archive_server.url}/{quote(path.name)}"), image())


def test_the_query_of_a_signed_address_is_sent(archive_server: ranges.Archive):
    path = write(archive_server.folder / "B.tif", image(), **LAYOUTS["deflate, differences"])
    np.testing.assert_array_equal(whole(Archive(), archive_server.href(path) + "?sv=2022&sig=a%2Fb%3D"), image())
    assert {path for path, _ in archive_server.asked} == {"B.tif?sv=2022&sig=a%2Fb%3D"}


def test_a_header_is_asked_for_once_and_each_tile_by_its_range(archive_server: ranges.Archive):
    path = write(archive_server.folder / "B.tif", image(), **LAYOUTS["deflate, differences"])
    archive = Archive()
    np.testing.assert_array_equal(whole(archive, archive_server.href(path)), image())
    np.testing.assert_array_equal(whole(archive, archive_server.href(path)), image())
    header = archive.header(archive_server.href(path))
    of_tiles = [f"bytes={header.offsets[t]}-{header.offsets[t] + header.counts[t] - 1}" for t in tiles(header)]
    assert [wanted for _, wanted in archive_server.asked] == [f"bytes=0-{tiff.HEAD_BYTES[0] - 1}", *of_tiles, *of_tiles]


@pytest.mark.parametrize("fault, first", [("busy", 0), ("drop", 0), ("cut", 0), ("busy", 4), ("cut", 5), ("silent", 6)])
def test_faults_that_pass_are_survived(fault: str, first: int, archive_server: ranges.Archive):
    path = write(archive_server.folder / "B.tif", image(), **LAYOUTS["deflate, differences"])
    archive_server.fault, archive_server.first = fault, first
    archive_server.times = 1 if fault == "silent" else 2
    np.testing.assert_array_equal(whole(Archive(), archive_server.href(path)), image())
    assert archive_server.times == 0


@pytest.mark.parametrize("first", [0, 5])
def test_an_answer_that_breaks_off_is_asked_for_again(first: int, archive_server: ranges.Archive):
    "Without an ETag nobody knows whether the rest would be of the same file: the whole range is asked for."
    path = write(archive_server.folder / "B.tif", image(), **LAYOUTS["deflate, differences"])
    archive_server.etag, archive_server.fault, archive_server.first, archive_server.times = False, "cut", first, 1
    np.testing.assert_array_equal(whole(Archive(), archive_server.href(path)), image())
    assert archive_server.times == 0
    assert archive_server.asked[first] == archive_server.asked[first + 1]


def test_answers_that_always_break_off_are_told(archive_server: ranges.Archive):
    path = write(archive_server.folder / "B.tif", image(), **LAYOUTS["deflate, differences"])
    archive_server.etag, archive_server.fault = False, "cut"
    with pytest.raises(StoreError, match="cannot be read") as caught:
        whole(Archive(), archive_server.href(path))
    assert archive_server.href(path) in str(caught.value)
    assert len(archive_server.asked) == 1 + RETRIES


@pytest.mark.parametrize(
    "fault, first",
    [
        ("drop", 0),
        ("short", 0),
        ("whole", 0),
        ("missing", 0),
        ("busy", 4),
        ("cut", 4),
        ("short", 4),
        ("long", 4),
        ("whole", 4),
        ("missing", 4),
    ],
)
def test_faults_that_stay_are_told_with_the_address(fault: str, first: int, archive_server: ranges.Archive):
    path = write(archive_server.folder / "B.tif", image(), **LAYOUTS["deflate, differences"])
    archive_server.fault, archive_server.first = fault, first
    with pytest.raises(StoreError) as caught:
        whole(Archive(), archive_server.href(path))
    assert archive_server.href(path) in str(caught.value)


def test_nobody_there_is_told(archive_server: ranges.Archive, tmp_path: Path):
    with ranges.serve(tmp_path) as gone:
        href = gone.href(tmp_path / "B.tif")
    with pytest.raises(StoreError, match="cannot be read"):
        Archive().header(href)
