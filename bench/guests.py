"""eo-learn and DE Africa's tools, run by the Python of bench/.venv, where they live with the versions they need.

    guests.py NAME INPUT.npz OUTPUT.npy

Prepares the work, then does it once for each line on standard input and answers with its own CPU seconds. What it
computed last stands in OUTPUT.npy, so that `features.py` can see that it is right.
"""

import datetime as dt
import os
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np

warnings.simplefilter("ignore")  # deprecations among the guests' own libraries
FIRST = dt.datetime(2022, 9, 1)
INDICES = ("NDVI", "NDRE", "EVI", "SAVI", "NDMI")

Work = Callable[[], object]
Result = Callable[[object], np.ndarray]  # what is compared, out of what the work gave


def eolearn(given: dict[str, np.ndarray]) -> tuple[Work, Result]:
    "Mask of clouds, five indices of every observation, linear interpolation to the 28 nodes; no more than that."
    from eolearn.core import EOPatch, FeatureType, MapFeatureTask, MergeFeatureTask
    from eolearn.features import NormalizedDifferenceIndexTask
    from eolearn.features.extra.interpolation import LinearInterpolationTask
    from sentinelhub import CRS, BBox

    data, mask = FeatureType.DATA, FeatureType.MASK
    bands, scl, valid, indices = (data, "BANDS"), (mask, "SCL"), (mask, "VALID"), (data, "INDICES")

    class Clear(MapFeatureTask):
        def map_method(self, scl):
            return np.isin(scl, (4, 5, 6, 7))

    class Evi(MapFeatureTask):
        def map_method(self, bands):
            blue, red, nir = bands[..., [0]], bands[..., [1]], bands[..., [3]]
            return 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1)

    class Savi(MapFeatureTask):
        def map_method(self, bands):
            red, nir = bands[..., [1]], bands[..., [3]]
            return 1.5 * (nir - red) / (nir + red + 0.5)

    nodes = [FIRST + dt.timedelta(days=day) for day in range(0, 280, 10)]
    tasks = [
        Clear(scl, valid),
        NormalizedDifferenceIndexTask(bands, (data, "NDVI"), (3, 1)),
        NormalizedDifferenceIndexTask(bands, (data, "NDRE"), (3, 2)),
        Evi(bands, (data, "EVI")),
        Savi(bands, (data, "SAVI")),
        NormalizedDifferenceIndexTask(bands, (data, "NDMI"), (3, 4)),
        MergeFeatureTask([(data, name) for name in INDICES], indices),
        LinearInterpolationTask(indices, mask_feature=valid, resample_range=nodes),
    ]
    _, height, width = given["scl"].shape
    patch = EOPatch(
        bbox=BBox((300_000, 8_000_000, 300_000 + 10 * width, 8_000_000 + 10 * height), CRS.UTM_36S),
        timestamps=[FIRST + dt.timedelta(days=int(day)) for day in given["days"]],
    )
    # reflectance in eo-learn's order of dimensions, (time, y, x, band), made before the clock starts
    patch[bands] = np.ascontiguousarray(given["dn"].transpose(0, 2, 3, 1)) * np.float32(1e-4)
    patch[scl] = given["scl"][..., None]

    def work():
        result = patch.copy()
        for task in tasks:
            result = task.execute(result)
        return result

    return work, lambda result: result[indices].transpose(3, 0, 1, 2)


def deafrica(given: dict[str, np.ndarray]) -> tuple[Work, Result]:
    "xr_phenology of three index curves that are already cleaned, interpolated and smoothed."
    import xarray as xr
    from deafrica_tools.temporal import xr_phenology

    nodes = np.datetime64(FIRST, "ns") + np.arange(0, 280, 10).astype("timedelta64[D]")
    series = [xr.DataArray(curve, {"time": nodes}, ("time", "y", "x")) for curve in given["curves"]]

    def work():
        return [xr_phenology(curve, verbose=False) for curve in series]

    def result(found):
        # it goes on with NaN where a step of its own fails; its result must not be such
        assert all((one.SOS.notnull() == one.AOS.notnull()).all() and one.ROG.notnull().any() for one in found)
        peak = [(one.POS - nodes[0]) / np.timedelta64(10, "D") for one in found]
        return np.stack([[one.AOS.values, step.values] for one, step in zip(found, peak, strict=True)])

    return work, result


def main(name: str, given: str, output: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    with np.load(given) as archive:
        work, result = {"eolearn": eolearn, "deafrica": deafrica}[name](dict(archive))
    for turn, _ in enumerate(sys.stdin):
        start = time.process_time()
        found = work()
        seconds = time.process_time() - start
        if turn == 0:
            np.save(output, result(found))
        del found
        print(seconds, file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
