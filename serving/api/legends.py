"What may be asked for, and what its colours mean: GET /limits, GET /legend."

import math
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from geocrop.schema import geometry

from . import palette
from .errors import NotFound
from .problems import documented
from .replies import Json
from .service import Here, Service
from .shapes import LEAST_RADIUS_M, ClassRow

router = APIRouter(tags=["map"])
HOUR = {"Cache-Control": "public, max-age=300"}


class Stop(BaseModel):
    "A colour of a ramp."

    value: int
    colour: str


class Legends(BaseModel):
    "Colours of all layers."

    crop: list[ClassRow]
    baseline: list[ClassRow]
    confidence: list[Stop]


@router.get("/legend", response_model=Legends, summary="Colours of all layers")
def legend(here: Here) -> Response:
    "Classes of the crop maps and of the baselines, and the ramp of the confidence."
    baseline = here.shelf.legend()
    ramp = [{"value": value, "colour": colour} for value, colour in palette.RAMP]
    page = {
        "crop": palette.rows(here.legend),
        "baseline": palette.rows(baseline) if baseline else [],
        "confidence": ramp,
    }
    return Json(page, headers=HOUR)


@router.get("/limits", summary="What may be asked for")
def limits(here: Here) -> Response:
    "Seasons, sizes and the place where the service is at home."
    most_m = here.bounds.max_radius_m
    west, south, east, north = home_bbox(here)
    page = {
        "product": "geocrop", "version": released(), "embedded": here.api.embedded,
        "seasons": here.seasons(), "baselines": here.shelf.years(),
        "radius_m": {"min": LEAST_RADIUS_M, "max": most_m}, "area_ha_max": round(math.pi * most_m**2 / 10_000),
        "centre": [round((west + east) / 2, 6), round((south + north) / 2, 6)], "bbox": [west, south, east, north],
        "boundary": "/boundary" if here.bounds.country else None,
        "basemap": {"tiles": here.api.basemap, "credit": here.api.credit} if here.api.basemap else None,
    }  # fmt: skip
    return Json(page, headers={"Cache-Control": "no-cache"})


@router.get("/boundary", responses=documented(404), summary="The country that is mapped")
def boundary(here: Here) -> Response:
    "Its outline, a GeoJSON Polygon or MultiPolygon."
    if here.bounds.country is None:
        raise NotFound(
            "Boundary",
            found="none",
            expected="an outline in [country] boundary of settings.ini",
            remedy="Maps are bounded by the scenes of the catalogue alone.",
        )
    return Json(here.bounds.country, headers=HOUR, media_type="application/geo+json")


def home_bbox(here: Service) -> tuple[float, float, float, float]:
    "The country where its outline is known, or else the area of the project."
    outline = here.bounds.country or geometry(here.area)
    polygons = outline["coordinates"] if outline["type"] == "MultiPolygon" else [outline["coordinates"]]
    lons, lats = zip(*(position[:2] for polygon in polygons for position in polygon[0]), strict=True)
    return min(lons), min(lats), max(lons), max(lats)


def released() -> str:
    "Version of the product."
    try:
        return version("geocrop")
    except PackageNotFoundError:
        return "0"
