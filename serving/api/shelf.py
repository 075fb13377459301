"The baselines of the store: which years there are, and what each says of itself, remembered while it does not change."

import json
import re
import threading
from dataclasses import dataclass
from typing import Any

import obstore
from cachetools import LRUCache, TTLCache, cachedmethod

from geocrop.schema import Legend, StoreError
from serving.jobs.objects import gdal_path

from . import raster
from .errors import NotFound

PREFIX = "dw/zim/summer/"
NAME = re.compile(re.escape(PREFIX) + r"(\d{4})\.tif")
LISTED_S = 2.0  # how long a list of years is good for: they appear one by one at a first start
OPENED = 64
PICTURES_BYTES = 16 * 2**20  # of tiles


@dataclass(frozen=True, slots=True)
class Baseline:
    "What a baseline says of itself."

    year: int
    path: str  # As GDAL opens it
    etag: str  # Changes when the file does
    title: str
    source: str
    legend: Legend
    bbox: list[float]  # West, south, east, north
    minzoom: int
    maxzoom: int


class Shelf:
    "Baselines in a store."

    def __init__(
        self,
        store: Any,  # Of geocrop.store.bucket; None: there are no baselines
    ):
        self._store = store
        self._listed: TTLCache[Any, dict[int, tuple[str, str]]] = TTLCache(1, LISTED_S)
        self._opened: LRUCache[Any, Baseline] = LRUCache(OPENED)
        self._lock = threading.Lock()
        self.pictures: LRUCache[Any, bytes] = LRUCache(PICTURES_BYTES, getsizeof=len)  # what everybody sees first

    def years(self) -> list[int]:
        "Years that are there, in order. StoreError."
        return sorted(self._list())

    def baseline(self, year: int) -> Baseline:
        "The baseline of a year. NotFound, StoreError."
        there = self._list()
        if year not in there:
            raise NotFound(
                f"Baseline {year}",
                found="none of this year",
                expected=", ".join(map(str, sorted(there))) or "none is stored yet",
                remedy="See /baselines.",
            )
        return self._open(year, *there[year])

    def legend(self) -> Legend | None:
        "Classes of the latest baseline; None where there is no baseline."
        years = self.years()
        return self.baseline(years[-1]).legend if years else None

    @cachedmethod(lambda self: self._listed, lock=lambda self: self._lock)
    def _list(self) -> dict[int, tuple[str, str]]:
        "Key and version of each year's file."
        if self._store is None:
            return {}
        try:
            listed = obstore.list_with_delimiter(self._store, PREFIX)["objects"]
        except FileNotFoundError:
            return {}
        except obstore.exceptions.BaseError as error:
            raise StoreError(
                "Baselines", found=str(error)[:500], expected="a store that can be read", remedy="Check the store."
            ) from error
        found = {match[1]: entry for entry in listed if (match := NAME.fullmatch(entry["path"]))}
        return {int(year): (entry["path"], _version(entry)) for year, entry in found.items()}

    @cachedmethod(lambda self: self._opened, lock=lambda self: self._lock)
    def _open(self, year: int, key: str, version: str) -> Baseline:
        path = gdal_path(self._store, key)
        about = raster.about(path)
        tags = about.pop("tags")
        try:
            legend = Legend.of(json.loads(tags["GEOCROP_LEGEND"]))
        except (KeyError, ValueError, TypeError):
            raise StoreError(
                path,
                found="no legend in its tags",
                expected="GEOCROP_LEGEND",
                remedy="Write it with geocrop.baselines.",
            ) from None
        title, source = tags.get("TITLE", f"Season {year}"), tags.get("SOURCE", "")
        return Baseline(year, path, version, title, source, legend, **about)


def _version(entry: Any) -> str:
    version = str(entry["e_tag"] or f"{entry['last_modified'].timestamp()}-{entry['size']}")
    return re.sub(r"[^\w.-]", "", version)
