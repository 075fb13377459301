"""The season of a window as arrays, in several ways; each on one thread.

"As stored": every band on its own grid, decoded and no more. "10 m": B05 and B11 bilinear, SCL nearest.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import dask
import imagecodecs
import numpy as np
import odc.stac
import ours
import pystac
import rasterio
import stackstac
import tifffile
import xarray as xr
from archive import EPSG, GSD_M, TILE_PX, Archive, transform
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.windows import Window
from shapely.geometry import shape

from geocrop.items import ItemList

GRIDS = [["B02", "B04", "B08"], ["B05", "B11", "SCL"]]  # assets of 10 m and of 20 m
GDAL = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_NUM_THREADS": "1"}
Arrays = dict[str, NDArray]  # asset -> (time, y, x)


@dataclass(frozen=True, slots=True)
class Tile:
    "Where the bytes of an inner tile are, and where its pixels belong."

    offset: int
    count: int
    rows: slice
    columns: slice


@dataclass(frozen=True)
class Task:
    "A window of the archive, at its upper left corner, for a number of dates."

    archive: Archive
    n_dates: int
    side_px: int  # Of the window, pixels of 10 m; whole tiles

    @cached_property
    def items(self) -> ItemList:
        return self.archive.items(self.n_dates)

    @property
    def geobox(self):
        return self.archive.geobox[: self.side_px, : self.side_px]

    @property
    def bytes_on_10_m(self) -> int:
        "Of five bands and SCL."
        return self.n_dates * self.side_px**2 * 11

    def side(self, asset: str) -> int:
        "Of the window on the asset's own grid."
        return self.side_px * 10 // GSD_M[asset]

    @cached_property
    def arrays(self) -> Arrays:
        "Space for the pixels as stored, there before the clock starts."
        types = {asset: np.uint8 if asset == "SCL" else np.uint16 for asset in GSD_M}
        return {a: np.zeros((self.n_dates, self.side(a), self.side(a)), kind) for a, kind in types.items()}

    @cached_property
    def there(self) -> dict[str, Any]:
        "The same for geocrop's reader, and the tables of tiles."
        return ours.there()

    @cached_property
    def tiles(self) -> dict[tuple[int, str], list[Tile]]:
        "The tiles of the window in every file."
        return {(date, asset): list(self._tiles(date, asset)) for date in range(self.n_dates) for asset in GSD_M}

    def _tiles(self, date: int, asset: str) -> Iterator[Tile]:
        with tifffile.TiffFile(self.archive.path(date, asset)) as tif:
            page = tif.pages[0]
            assert page.tilewidth == page.tilelength == TILE_PX
            across = -(-page.imagewidth // TILE_PX)
            places = zip(page.dataoffsets, page.databytecounts, strict=True)
            for number, (offset, count) in enumerate(places):
                top, left = TILE_PX * (number // across), TILE_PX * (number % across)
                if max(top, left) < self.side(asset):
                    rows, columns = (slice(x, min(x + TILE_PX, self.side(asset))) for x in (top, left))
                    yield Tile(offset, count, rows, columns)


# --- ours ------------------------------------------------------------------------------------------------------------


def with_windows(task: Task) -> None:
    "Window by window of one tile each, pixels as stored: what the features are made from."
    for _ in ours.windows(task.items, task.geobox, TILE_PX, threads=1, **task.there):
        pass


def of_windows(task: Task) -> Arrays:
    "What `with_windows` sees of the 10 m bands and of SCL."
    shape = (task.n_dates, task.side_px, task.side_px)
    out = {asset: np.zeros(shape, np.uint16) for asset in GRIDS[0]} | {"SCL": np.zeros(shape, np.uint8)}
    for rows, columns, stored in ours.windows(task.items, task.geobox, TILE_PX, threads=1):
        for band, asset in enumerate(GRIDS[0]):
            out[asset][:, rows, columns] = stored.fine[:, band]
        out["SCL"][:, rows, columns] = stored.classes()
    return out


def with_cube(task: Task) -> Arrays:
    "In one piece, on the grid of 10 m."
    cube = ours.cube(task.items, task.geobox, threads=1)
    return {asset: cube[asset].values for asset in GSD_M}


# --- the floor -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Buffers:
    "Space of one thread for one tile of each type."

    wide: NDArray[np.uint16] = field(default_factory=lambda: np.zeros((TILE_PX, TILE_PX), np.uint16))
    narrow: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((TILE_PX, TILE_PX), np.uint8))


def decode(stored: bytes, buffers: Buffers, asset: str) -> NDArray:
    "Inflate a tile; differences along the rows stay."
    buffer = buffers.narrow if asset == "SCL" else buffers.wide
    imagecodecs.deflate_decode(stored, out=buffer.reshape(-1).view(np.uint8))
    return buffer


def bare(task: Task, fresh: bool = False) -> Arrays:
    "pread, libdeflate, un-predict, and nothing else; into arrays that are there, or into new ones."
    buffers, arrays = Buffers(), {a: np.empty_like(band) for a, band in task.arrays.items()} if fresh else task.arrays
    for (date, asset), tiles in task.tiles.items():
        file = os.open(task.archive.path(date, asset), os.O_RDONLY)
        for tile in tiles:
            pixels = decode(os.pread(file, tile.count, tile.offset), buffers, asset)
            target = arrays[asset][date, tile.rows, tile.columns]
            pixels = pixels[: target.shape[0], : target.shape[1]]
            if asset == "SCL":
                target[...] = pixels
            else:
                imagecodecs.delta_decode(pixels, axis=-1, out=target)
        os.close(file)
    return arrays


def decode_only(task: Task, threads: int) -> None:
    "The same bytes inflated and un-predicted, by so many threads; the pixels are kept nowhere."

    def part(first: int) -> None:
        buffers = Buffers()
        for (date, asset), tiles in list(task.tiles.items())[first::threads]:
            file = os.open(task.archive.path(date, asset), os.O_RDONLY)
            for tile in tiles:
                pixels = decode(os.pread(file, tile.count, tile.offset), buffers, asset)
                if asset != "SCL":
                    imagecodecs.delta_decode(pixels, axis=-1, out=pixels)
            os.close(file)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(threads)))


# --- rasterio --------------------------------------------------------------------------------------------------------


def with_rasterio(task: Task) -> Arrays:
    "Each file opened once, its window read once into space that is there."
    with rasterio.Env(**GDAL):
        for date in range(task.n_dates):
            for asset, target in task.arrays.items():
                with rasterio.open(task.archive.path(date, asset)) as file:
                    side = task.side(asset)
                    file.read(1, window=Window(0, 0, side, side), out=target[date])
    return task.arrays


# --- odc-stac and stackstac ------------------------------------------------------------------------------------------


def stac(task: Task) -> list[dict[str, Any]]:
    "The items as STAC documents that say all a reader may ask: shapes and transforms, types, nodata."

    def asset(name: str, href: str) -> dict[str, Any]:
        side = task.archive.side_px * 10 // GSD_M[name]
        kind = "uint8" if name == "SCL" else "uint16"
        return {
            "href": href,
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "proj:shape": [side, side],
            "proj:transform": list(transform(GSD_M[name]))[:6],
            "raster:bands": [{"data_type": kind, "nodata": 0, "spatial_resolution": GSD_M[name]}],
        }

    return [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "stac_extensions": [
                "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
                "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
            ],
            "id": item.id,
            "geometry": item.geometry,
            "bbox": list(shape(item.geometry).bounds),
            "properties": {"datetime": item.datetime, "proj:epsg": item.epsg},
            "links": [],
            "assets": {name: asset(name, href) for name, href in item.assets.items()},
        }
        for item in task.items
    ]


def with_odc(task: Task, documents: list[pystac.Item], native: bool) -> Arrays:
    "odc.stac.load, no chunks, no pool; on the grid of 10 m, or each band on its own."
    grids = {10: task.geobox, 20: task.geobox.zoom_out(2) if native else task.geobox}
    out = {}
    for assets in GRIDS if native else [list(GSD_M)]:
        cube = odc.stac.load(
            documents,
            bands=assets,
            geobox=grids[GSD_M[assets[0]]],
            resampling={"SCL": "nearest", "*": "bilinear"},
            groupby="id",
            chunks=None,
        )
        out |= {asset: cube[asset].values for asset in assets}
    return out


def stack(task: Task, documents: list[dict[str, Any]], assets: list[str], gsd_m: int, **more: Any) -> xr.DataArray:
    "One lazy stack of bands of one type, cut to the window."
    scl = assets == ["SCL"]
    kind = np.uint8 if scl else np.uint16
    whole = stackstac.stack(
        documents,
        assets=assets,
        epsg=EPSG,
        resolution=gsd_m,
        resampling=Resampling.nearest if scl else Resampling.bilinear,
        dtype=np.dtype(kind),
        fill_value=kind(0),
        rescale=False,
        sortby_date=False,
        properties=False,
        band_coords=False,
        xy_coords="center",
        chunksize=TILE_PX,
        **more,
    )
    side = task.side_px * 10 // gsd_m
    return whole.isel(y=slice(0, side), x=slice(0, side))


def with_stackstac(task: Task, documents: list[dict[str, Any]], native: bool, **more: Any) -> Arrays:
    "stackstac.stack and compute on one thread; on the grid of 10 m, or each band on its own."
    stacks = [
        stack(task, documents, assets, GSD_M[assets[0]] if native else 10, **more)
        for assets in (["B02", "B04", "B08"], ["B05", "B11"], ["SCL"])
    ]
    with dask.config.set(scheduler="synchronous"):
        found = dask.compute(*stacks)
    return {str(name): part.sel(band=name).values for part in found for name in part.band.values}


def with_bounds(task: Task, documents: list[dict[str, Any]]) -> Arrays:
    """stackstac given the bounds of the window, as most code that uses it does.

    Where they are not the footprint of the file, GDAL's warper reads every band. In this archive a window can be the
    whole file, which no real one is; two pixels less make the case real.
    """
    west, south, east, north = task.geobox.boundingbox
    return with_stackstac(task, documents, native=False, bounds=(west, south + 20, east - 20, north), snap_bounds=False)


# --- equal? ----------------------------------------------------------------------------------------------------------

BILINEAR_DN = 1  # two bilinear readers may round to different neighbours


def differences(
    found: Arrays,  # On the grid of 10 m, or each asset on its own
    expected: Arrays,  # On the grid of 10 m
) -> dict[str, int]:  # Largest difference of each asset, without the last pixels of a smaller window
    "How two readers differ; bands of 20 m only where both have them on the grid of 10 m."
    out = {}
    for asset, band in found.items():
        there = expected[asset]
        if asset == "SCL" and band.shape[1] * 2 == there.shape[1]:
            band = band.repeat(2, 1).repeat(2, 2)
        n_time, height, width = band.shape
        if there.shape[1] - height <= 2:
            out[asset] = int(np.abs(band.astype(np.int32) - there[:n_time, :height, :width]).max())
    return out
