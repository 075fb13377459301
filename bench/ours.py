"""What is compared with others: the calls of geocrop, each in one place.

Imported inside the functions, so that a process loads no more of geocrop than it measures.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def features(days: NDArray, dn: NDArray[np.uint16], scl: NDArray[np.uint8]) -> NDArray[np.float32]:
    "Features v1 of arrays, shape (51, y, x)."
    from geocrop.kernels import features_v1

    return features_v1(days, dn, scl)


def windows(
    items,  # geocrop.items.ItemList
    grid,  # GeoBox of 10 m
    window_px: int,
    threads: int,
    **there: Any,  # archive: headers that are known; memory: arrays that are there
) -> Iterator[tuple[slice, slice, Any]]:  # The last a geocrop.kernels.StoredSeason
    "Read a grid window by window, pixels as stored: rows, columns, digital numbers and classes."
    from geocrop.reader import plan, read

    # hidden: also the scenes in which a window has no clear pixel, which geocrop does not read otherwise
    windows = plan(items, grid, window_px, archive=there.get("archive"))
    for reading in read(windows, items.season, threads=threads, hidden=True, **there):
        yield reading.window.rows, reading.window.cols, reading.stored


def cube(items, grid, threads: int):
    "A grid in memory, all bands on 10 m: xarray.Dataset."
    from geocrop.reader import read_cube

    return read_cube(items, grid, threads=threads)


def there() -> dict[str, Any]:
    "What one reading after the other may keep: tables of tiles, and arrays."
    from geocrop.reader import Memory
    from geocrop.tiff import Archive

    return {"archive": Archive(), "memory": Memory()}


def stream(items, grid, window_px: int, threads: int, **there: Any) -> Iterator[NDArray[np.float32]]:
    "Features of a grid, some rows of a window at a time, shape (51, y, x)."
    from geocrop.stream import stream_features

    for strip in stream_features(items, grid, window_px=window_px, threads=threads, **there):
        yield strip.features
