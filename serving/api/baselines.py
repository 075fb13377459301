"Baselines: Dynamic World seasons, shown before any job. GET /baselines, GET /baselines/{year}."

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path
from pydantic import BaseModel
from starlette.responses import Response

from . import palette
from .problems import documented
from .replies import Json, not_modified
from .service import Here
from .shapes import ClassRow
from .shelf import Baseline

router = APIRouter(tags=["map"])
BaselineYear = Annotated[int, Path(ge=1985, le=2100, examples=[2022])]
IfNoneMatch = Annotated[str | None, Header(max_length=1000, description="ETags that the client has")]


class BaselinePage(BaseModel):
    "A baseline."

    year: int
    bbox: list[float]
    tiles: str
    href: str
    title: str
    source: str
    minzoom: int
    maxzoom: int
    legend: list[ClassRow]


class BaselineList(BaseModel):
    "Baselines by year."

    baselines: list[BaselinePage]


def page(found: Baseline) -> dict[str, Any]:
    "A baseline as clients get it."
    return {
        "year": found.year, "bbox": found.bbox, "tiles": f"/tiles/baselines/{found.year}/{{z}}/{{x}}/{{y}}.png",
        "href": f"/baselines/{found.year}", "title": found.title, "source": found.source, "minzoom": found.minzoom,
        "maxzoom": found.maxzoom, "legend": palette.rows(found.legend),
    }  # fmt: skip


@router.get("/baselines", response_model=BaselineList, responses=documented(503), summary="All baselines")
def listed(here: Here) -> Response:
    "Years that are stored, in order."
    found = [page(here.shelf.baseline(year)) for year in here.shelf.years()]
    return Json({"baselines": found}, headers={"Cache-Control": "no-cache"})


@router.get(
    "/baselines/{year}",
    response_model=BaselinePage,
    responses={304: {"description": "Not modified"}, **documented(404, 422, 503)},
    summary="A baseline",
)
def one(here: Here, year: BaselineYear, if_none_match: IfNoneMatch = None) -> Response:
    "Where its tiles are, and what their colours mean."
    found = here.shelf.baseline(year)
    headers = {"ETag": f'"{found.etag}"', "Cache-Control": "public, max-age=300"}
    return not_modified(if_none_match, headers) or Json(page(found), headers=headers)
