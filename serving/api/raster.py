"""Rasters of the store as pictures and numbers, by rio-tiler: the engine of TiTiler.

Paths are made by this service from ids and years; no address that a user gives is ever opened.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import anyio
from obstore.store import S3Store

from geocrop.store import gdal_options


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    "Let imports inside do without what they only try. xarray and pandas alone would be 90 MB of every process."
    held = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(held))  # type: ignore[arg-type]  # None: the import system finds nothing
    try:
        yield
    finally:
        for name in held:
            del sys.modules[name]


with _absent("xarray", "rioxarray", "boto3"):
    import rasterio
    from rasterio.errors import RasterioError as RasterioError  # for the table of problems
    from rio_tiler.errors import PointOutsideBounds, TileOutsideBounds
    from rio_tiler.io import Reader

Colours = dict[int, tuple[int, int, int, int]]  # value -> red, green, blue, alpha; other values are not shown
AT_ONCE = 8  # rasters read at once: pictures must not take the threads of everything else
MAX_ZOOM = 24
CACHE = {"GDAL_CACHEMAX": 64, "VSI_CACHE": True, "VSI_CACHE_SIZE": 8_000_000, "CPL_VSIL_CURL_CACHE_SIZE": 16_000_000}

readers = anyio.CapacityLimiter(AT_ONCE)


def place(
    store: Any,  # Of geocrop.store.bucket
    key: str,  # Made here, never by a user
) -> str:  # A path, or /vsis3/BUCKET/KEY
    "An object as GDAL opens it."
    if isinstance(store, S3Store):
        return "/".join(["/vsis3", store.config["bucket"], *filter(None, [store.prefix]), key])
    return str(Path(store.prefix, key))


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
) -> bytes | None:  # PNG of 256 x 256; None: nothing there
    "A tile of WebMercatorQuad, nearest neighbours: classes do not mix."
    with rasterio.Env(**_options()), Reader(path) as raster:
        try:
            picture = raster.tile(x, y, z, indexes=band, resampling_method="nearest", reproject_method="nearest")
        except TileOutsideBounds:
            return None
        return picture.render(img_format="PNG", colormap=colours)


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


@lru_cache(maxsize=1)
def empty() -> bytes:
    "A tile on which nothing is."
    import numpy as np
    from rio_tiler.utils import render

    return render(np.zeros((3, 256, 256), np.uint8), np.zeros((256, 256), np.uint8), img_format="PNG")
