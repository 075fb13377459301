"What can be said of a place before a map of it is made: what it will take, how clear it was, the season of one pixel."

import json
import statistics
import time
from dataclasses import dataclass
from functools import lru_cache
from math import floor
from typing import Any

import numpy as np
import sqlalchemy as sa
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry, point

from geocrop import settings
from geocrop.clouds import Mask
from geocrop.cube import grid
from geocrop.indices import ndvi, reflectance
from geocrop.items import ItemList, expected_clear_days, overlapping, search
from geocrop.mapping import MapModel
from geocrop.reader import Window, read, sizes
from geocrop.schema import CLEAR_SCL, DN_NODATA, Area, Season, geometry
from geocrop.tiff import Archive
from serving.jobs import jobs
from serving.jobs.users import User

from .maps import warm

FRESH_S = 600  # a list of scenes is asked for anew after so long
LISTS = 64  # of scenes that are remembered, with the headers of their files
CELL_DEG = 0.02  # places in one cell, of 2 km, share a list
THREADS = 4  # that read the season of a pixel

LATEST = 20  # finished jobs that say how fast this service is
START = 5_000_000  # values that could be read while a job begins: what the smallest one takes, in terms of size
SURE = (0.8, 1.3)  # of the least and the most that the latest jobs would have taken
UNSURE = (0.5, 3.0)  # of what one map on this machine would have taken, where no job has finished yet
FIRST_RADIUS_M = 1000.0  # of that map


@dataclass(frozen=True)
class Found:
    "The scenes of a place, and where their bytes are."

    items: ItemList
    archive: Archive


def _found(area: Area, season: Season) -> Found:
    "The scenes of an area, remembered for a while."
    outline = json.dumps(geometry(area), sort_keys=True)
    return _remembered(outline, season, int(time.monotonic() // FRESH_S))


@lru_cache(LISTS)
def _remembered(outline: str, season: Season, _while: int) -> Found:
    return Found(search(json.loads(outline), season), Archive())


# --- what a job will take --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pace:
    "How long maps of known size took."

    took: tuple[tuple[int, float], ...]  # Values that were read (pixels times scenes), seconds
    sure: tuple[float, float]  # Factors on the least and the most

    def seconds(
        self,
        size: int,  # Values to be read: pixels times scenes
    ) -> tuple[float, float]:  # At least and at most, as far as the past tells
        "What a map would have taken then."
        would = sorted(s * (size + START) / (known + START) for known, s in self.took)
        if len(would) >= 10:  # the odd one out says nothing
            deciles = statistics.quantiles(would, n=10)
            would = [deciles[0], deciles[-1]]
        return self.sure[0] * would[0], self.sure[1] * would[-1]


def first_pace(model: MapModel) -> Pace:
    "That of one map of the project's area that nobody asked for."
    made = warm(model, FIRST_RADIUS_M)
    return Pace(((made.pixels * made.scenes, made.seconds),), UNSURE)


def pace(
    engine: sa.Engine,
    otherwise: Pace | None,  # Where no job has finished yet
) -> Pace | None:
    "How fast the workers of this service are. DatabaseUnavailable."
    latest = jobs.listed(engine, User(0, "answers", "admin"), limit=LATEST, status="successful")
    known = [job.result["measured"] for job in latest if job.result]
    took = tuple((one["pixels"] * one["scenes"], one["seconds"]) for one in known)
    return Pace(took, SURE) if took else otherwise


def quote(
    area: Area,  # (lon, lat, radius_m) or GeoJSON Polygon
    season: Season,
    at: Pace,
) -> dict[str, Any]:
    "What a map would be, and take. ItemsError where there are no scenes."
    found = _found(area, season)
    geobox = grid(found.items)
    pixels = geobox.shape[0] * geobox.shape[1]
    low, high = at.seconds(pixels * len(found.items))
    hectares = Geometry(found.items.area, crs="EPSG:4326").to_crs(geobox.crs).area / 10_000
    return {
        "hectares": round(hectares, 2),
        "pixels": pixels,
        "seconds": {"low": round(low, 1), "high": round(high, 1)},
        "expected_clear_days": round(expected_clear_days(found.items), 1),
        "scenes": len(found.items),
        "gigabytes": round(sum(sizes(found.items, geobox, archive=found.archive).values()) / 1e9, 4),
    }


# --- the season of a pixel -------------------------------------------------------------------------------------------


def _cell(lon: float, lat: float) -> dict[str, Any]:
    "A square that many places share, as GeoJSON."
    west, south = (floor(value / CELL_DEG) * CELL_DEG for value in (lon, lat))
    east, north = west + CELL_DEG, south + CELL_DEG
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [[[round(x, 6), round(y, 6)] for x, y in corners]]}


def curve(lon: float, lat: float, season: Season) -> dict[str, Any]:
    """NDVI of one pixel, on each day on which it was seen, clear or not: `dates`, `ndvi` (null: not to be computed),
    `clear`. Of several scenes of a day the first clear one counts, as in a map. ItemsError where there are no scenes.
    """
    found = _found(_cell(lon, lat), season)
    reading = next(read([_pixel(lon, lat, found.items)], season, mask=_mask(), threads=THREADS, hidden=True,
                        archive=found.archive))  # fmt: skip
    dn, classes = reading.stored.dn()[:, :, 0, 0], reading.stored.classes()[:, 0, 0]
    whole = (dn != DN_NODATA).all(1)
    clear = np.isin(classes, CLEAR_SCL) & whole
    seen = (dn != DN_NODATA).any(1)
    days: dict[str, int] = {}
    for k, item in enumerate(reading.items):
        day = str(item.date)
        if seen[k] and (day not in days or (clear[k] and not clear[days[day]])):
            days[day] = k
    chosen = list(days.values())
    offset = np.array([reading.items[k].offset_dn * 1e-4 for k in chosen])
    red, nir = (reflectance(dn[chosen, band], offset=offset) for band in (1, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        values = ndvi(red, nir)
    return {
        "dates": list(days),
        "ndvi": [round(float(v), 4) if np.isfinite(v) else None for v in values],
        "clear": clear[chosen].tolist(),
    }


def _mask() -> Mask:
    return Mask.of(settings.params("features"))


def _pixel(lon: float, lat: float, items: ItemList) -> Window:
    "The pixel of the season's grid in which a place lies, as the reader takes it."
    x, y = point(lon, lat, crs="EPSG:4326").to_crs(f"EPSG:{items.epsg}").coords[0]
    west, south = (floor(value / 10) * 10 for value in (x, y))
    geobox = GeoBox.from_bbox((west, south, west + 10, south + 10), crs=f"EPSG:{items.epsg}", resolution=10, tight=True)
    return Window(slice(0, 1), slice(0, 1), geobox, tuple(overlapping(items, geobox)), geobox)
