"""What is compared with others: the calls of geocrop, each in one place.

Imported inside the functions, so that a process loads no more of geocrop than it measures.
"""

from collections.abc import Iterator

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
) -> Iterator[tuple[slice, slice, NDArray[np.uint16], NDArray[np.uint8]]]:
    "Read a grid window by window, pixels as stored: rows, columns, B02 B04 B08 (time, 3, y, x), SCL (time, y, x)."
    from geocrop.reader import plan, read

    # hidden: also the scenes in which a window has no clear pixel, which geocrop does not read otherwise
    for reading in read(plan(items, grid, window_px), items.season, threads=threads, hidden=True):
        yield reading.window.rows, reading.window.cols, reading.stored.fine, reading.stored.scl


def cube(items, grid, threads: int):
    "A grid in memory, all bands on 10 m: xarray.Dataset."
    from geocrop.reader import read_cube

    return read_cube(items, grid, threads=threads)


def stream(items, grid, window_px: int, threads: int) -> Iterator[NDArray[np.float32]]:
    "Features of a grid, some rows of a window at a time, shape (51, y, x)."
    from geocrop.stream import stream_features

    for strip in stream_features(items, grid, window_px=window_px, threads=threads):
        yield strip.features
