"""Compile what a worker computes with, when its image is built: python -m serving.worker.bake [FOLDER]

A worker and the side that answers are taken through what they do, on a season of noise with a model that
guesses, in a project of its own: FOLDER, where it stays, or one that is removed again.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from odc.geo.geobox import GeoBox
from odc.geo.geom import point

from geocrop import settings
from geocrop.schema import BANDS, FEATURE_ORDER_V1, Legend, Season
from geocrop.store import bucket

SIZE_PX = 64  # side of the scene, in pixels of 10 m
EVERY = 6  # pass of the satellites that is kept
CLEAR, CLOUD = 4, 9  # of the scene classification: vegetation, cloud of high probability
ROWS = 30  # that the model has seen of each class
SEED = 1
KERNELS = Path(sys.prefix, "kernels")  # where they are kept, in the environment that they were compiled in


def project(
    folder: Path,  # To be made
) -> Path:  # The same
    "A project like that of the image, with a season and a champion of its own."
    from geocrop.ensemble import Ensemble
    from serving.jobs import models

    home = settings.home()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(home / "settings.ini", folder)
    page: dict[str, Any] = yaml.safe_load((home / "params.yaml").read_text())
    page["base"]["area"] = _season(folder / "data/season", page["base"]["year"])
    (folder / "params.yaml").write_text(yaml.safe_dump(page))

    legend, rng = Legend.of(page["base"]["legend"]), np.random.default_rng(SEED)
    classes = np.repeat(legend.ids, ROWS)
    rows = rng.uniform(0, 1, (len(classes), len(FEATURE_ORDER_V1))).astype("float32")
    model = folder / "results/model"
    Ensemble(legend, rounds=3).fit(rows, classes, np.arange(len(classes)) // 5).save(model)
    store = bucket(folder / "store/geocrop-models", make=True)
    models.point(store, models.put(store, model, page["base"]["name"], "1"))
    return folder


def _season(folder: Path, year: int) -> dict[str, float]:  # A disc in the middle of it
    "Scenes of noise, in the files and with the documents of the embedded season."
    from geocrop import simulate as archive
    from geocrop.sky import timetable

    lon, lat = archive.CENTRE
    crs = "EPSG:32736"
    west, south = (round(value / 20) * 20 for value in point(lon, lat, "EPSG:4326").to_crs(crs).coords[0])
    side = 10 * SIZE_PX
    grid = GeoBox.from_bbox((west, south, west + side, south + side), crs=crs, resolution=10, tight=True)
    passes, rng = timetable(Season(year), lon, lat)[::EVERY], np.random.default_rng(SEED)
    items = []
    for one in archive.products(passes, archive.tiles_over(grid)):
        dn = {
            band.name: rng.integers(300, 4000, (side // band.gsd_m,) * 2, dtype="uint16") for band in BANDS.values()
        } | {"SCL": rng.choice(np.array([CLEAR, CLOUD], "uint8"), (side // 20,) * 2, p=(0.8, 0.2))}
        item = archive.write_product(folder / "s2_l2a", one, archive.Look(dn), grid)
        items += [item] if item else []
    archive.write_catalogue(folder, items)
    return {"lon": lon, "lat": lat, "radius_m": side / 4}


def work() -> None:
    "What a worker does before its first job, and what is asked of the side that answers."
    from . import inference, outlook
    from .runner import Runner

    def say(**message: Any) -> None:
        pass

    runner = Runner(say)
    runner.warm()
    store = settings.settings("store").models
    (model, ready) = _champion(runner, store)
    row = {"name": "features", "datatype": "FP32", "shape": [1, len(FEATURE_ORDER_V1)]}
    inference.infer(model, ready, {"inputs": [row | {"data": [0.5] * len(FEATURE_ORDER_V1)}]}, lambda *_: None)
    area = settings.params("base").area
    outlook.curve(area["lon"], area["lat"], settings.season())


def _champion(runner: Any, store: str) -> tuple[Any, Any]:
    from serving.jobs import models

    model = models.champion(bucket(store), settings.params("base").name)
    return model, runner.loaded.get(store, model)


def main(words: list[str]) -> int:
    os.environ["NUMBA_CACHE_DIR"] = str(KERNELS)  # before anything imports Numba
    with tempfile.TemporaryDirectory(prefix="geocrop-bake-") as scratch:
        os.environ["GEOCROP_HOME"] = str(project(Path(*words or [scratch])))
        os.environ["XDG_CACHE_HOME"] = scratch
        work()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
