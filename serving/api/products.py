"Maps that jobs made: what is known of each, remembered, since a published map never changes."

import threading
from dataclasses import dataclass
from typing import Any

import orjson
from cachetools import LRUCache
from sqlalchemy import Engine

from geocrop.schema import Legend
from serving.jobs import jobs
from serving.jobs.jobs import Job
from serving.jobs.results import Results
from serving.jobs.users import User

from . import palette
from .errors import NotFound, NotReady
from .raster import Colours

MAP, ITEM, STATISTICS, STYLE = "map.tif", "map.json", "map.stats.json", "map.qml"  # what a worker publishes
KEPT = 512  # maps remembered


@dataclass(frozen=True, slots=True)
class Product:
    "A map that was published, and never changes again."

    user_id: int
    path: str  # As GDAL opens it
    etag: str
    legend: Legend
    colours: Colours
    bbox: list[float]
    item: dict[str, Any]


class Products:
    "Maps of successful jobs by id, remembered: a tile must not ask the database and the store for what cannot change."

    def __init__(self, engine: Engine, results: Results):
        self._engine, self._results = engine, results
        self._kept: LRUCache[str, Product] = LRUCache(KEPT)
        self._lock = threading.Lock()

    def of(self, id: str, user: User) -> Product:
        "The map of a job that whoever asks may see. JobNotFound, NotReady, NotFound, StoreError."
        return self.known(id, user) or self.made(jobs.get(self._engine, id, user))

    def made(self, job: Job) -> Product:
        "The map of a job whose row has just been read, for somebody who may see it. NotReady, NotFound, StoreError."
        with self._lock:
            product = self._kept.get(job.id)
        if product is None:
            product = self._product(job)
            with self._lock:
                self._kept[job.id] = product
        return product

    def known(self, id: str, user: User) -> Product | None:
        "The map of a job that whoever asks may see, where it is remembered."
        with self._lock:
            product = self._kept.get(id)
        return product if product and (user.admin or user.id == product.user_id) else None

    def _product(self, job: Job) -> Product:
        files = published(job)
        item = orjson.loads(self._results.read(job, ITEM))
        legend = palette.of_item(item)
        path, etag = self._results.local_or_vsi(job, MAP), files[MAP]["sha256"]
        return Product(job.user_id, path, etag, legend, palette.colours(legend), item["bbox"], item)


def published(job: Job) -> dict[str, dict[str, Any]]:
    "Files of a job that has succeeded, by name. NotReady before, NotFound where there are none and never will be."
    if job.result is not None and job.status == "successful":
        return job.result["files"]
    if job.ended:
        reason = f": {job.error['found']}" if job.error else ""
        raise NotFound(
            f"Results of job {job.id}",
            found=f"a job that was {job.status}" if job.status == "dismissed" else f"a job that failed{reason}",
            expected="one that succeeded",
            remedy=job.error["remedy"] if job.error else "Ask for the map again.",
        )
    raise NotReady(
        f"Results of job {job.id}",
        found=f"a job that is {job.status}, {job.progress} %",
        expected="one that succeeded",
        remedy="Wait; its status or its events say when.",
    )
