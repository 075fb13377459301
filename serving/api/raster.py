"""Rasters of the store as pictures and numbers, by rio-tiler: the engine of TiTiler.

Paths are made by this service from ids and years; no address that a user gives is ever opened.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import anyio
import numpy as np
import rasterio
from morecantile import Tile
from rasterio.errors import RasterioError as RasterioError  # for the table of problems
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT
from rio_tiler.colormap import apply_cmap
from rio_tiler.constants import WEB_MERCATOR_CRS, WEB_MERCATOR_TMS
from rio_tiler.errors import PointOutsideBounds
from rio_tiler.io import Reader
from rio_tiler.utils import render

from geocrop.schema import CLASS_NODATA
from geocrop.store import gdal_options

Colours = dict[int, tuple[int, int, int, int]]  # value -> red, green, blue, alpha; other values are not shown
SIZE = 256
AT_ONCE = 8  # rasters read at once: pictures must not take the threads of everything else
MAX_ZOOM = 24
CACHE = {"GDAL_CACHEMAX": 64, "VSI_CACHE": True, "VSI_CACHE_SIZE": 8_000_000, "CPL_VSIL_CURL_CACHE_SIZE": 16_000_000}

readers = anyio.CapacityLimiter(AT_ONCE)


@lru_cache(maxsize=1)
def _options() -> dict[str, Any]:
    return gdal_options() | CACHE


def tile(
    path: str,
    x: int,
    y: int,
    z: int,
    band: int,
    colours: Colours,
    bbox: Sequence[float],  # Of the raster: west, south, east, north
) -> bytes:  # PNG of 256 x 256
    "A tile of WebMercatorQuad, nearest neighbours: classes do not mix."
    place = Tile(x, y, z)
    if not (x < 2**z and y < 2**z) or _apart(WEB_MERCATOR_TMS.bounds(place), bbox):
        return empty()
    # A warp to the tile's own pixels costs the same at every zoom. rio-tiler's reader warps to the pixels of the raster
    # first: without enough overviews a tile of the whole world then costs a minute.
    bounds = WEB_MERCATOR_TMS.xy_bounds(place)
    pixel_m = (bounds.right - bounds.left) / SIZE * math.cos(math.radians((bbox[1] + bbox[3]) / 2))
    grid = {"transform": from_bounds(*bounds, SIZE, SIZE), "width": SIZE, "height": SIZE}
    with (
        rasterio.Env(**_options()),
        _opened(path, pixel_m) as raster,
        WarpedVRT(raster, crs=WEB_MERCATOR_CRS, nodata=CLASS_NODATA, src_nodata=CLASS_NODATA, **grid) as warped,
    ):
        data, mask = apply_cmap(warped.read([band]), colours)
    return render(data, mask, img_format="PNG")


def place(lon: float, lat: float, z: int) -> tuple[int, int]:
    "The tile on which a place is."
    found = WEB_MERCATOR_TMS.tile(lon, lat, z)
    return found.x, found.y


def _apart(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


@contextmanager
def _opened(path: str, pixel_m: float) -> Iterator[Any]:
    "A raster, or the overview of it that is enough for pixels of a size."
    with rasterio.open(path) as whole:
        enough = [level for level, factor in enumerate(whole.overviews(1)) if factor * whole.res[0] <= pixel_m]
        if not enough:
            yield whole
            return
    with rasterio.open(path, OVERVIEW_LEVEL=enough[-1]) as overview:
        yield overview


@lru_cache(maxsize=1)
def empty() -> bytes:
    "A tile on which nothing is."
    blank = np.zeros((3, SIZE, SIZE), np.uint8)
    return render(blank, blank[0], img_format="PNG")


def values(
    path: str,
    lon: float,
    lat: float,
) -> list[int] | None:  # Of all bands; None: outside
    "The pixel at a place."
    with rasterio.Env(**_options()), Reader(path) as raster:
        try:
            return [int(value) for value in raster.point(lon, lat).array.filled(raster.dataset.nodata)]
        except PointOutsideBounds:
            return None


def about(path: str) -> dict[str, Any]:
    "What a raster says of itself: tags, bbox (WGS 84), zooms."
    with rasterio.Env(**_options()), Reader(path) as raster:
        bbox = list(raster.get_geographic_bounds("EPSG:4326"))
        return {"tags": raster.dataset.tags(), "bbox": bbox, "minzoom": raster.minzoom, "maxzoom": raster.maxzoom}
