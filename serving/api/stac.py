"""Results as a STAC API: landing, one collection, its items, and search by place and time.

Items are those that were written with the maps; here they get the addresses of this service. Everybody sees their own.
"""

import datetime as dt
import math
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from geocrop.schema import SchemaError
from serving.jobs import jobs
from serving.jobs.jobs import Job
from serving.jobs.users import User

from . import paging
from .auth import SignedIn
from .errors import NotFound
from .jobs import JobId
from .legends import home_bbox
from .paging import After, Limit
from .problems import documented
from .products import Product
from .replies import GeoJson, Json
from .service import Here, Service
from .shapes import Degrees, Strict

router = APIRouter(tags=["stac"], prefix="/stac")
COLLECTION = "crop-maps"
STAC = "https://api.stacspec.org/v1.0.0/"
CONFORMS = [
    *(STAC + name for name in ("core", "collections", "ogcapi-features", "item-search")),
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
]
JSON, GEOJSON = "application/json", "application/geo+json"
MOST_IDS = 100

CollectionId = Annotated[str, Path(max_length=100, examples=[COLLECTION])]
Bbox = Annotated[str | None, Query(max_length=200, description="west,south,east,north", examples=["31,-18,31.1,-17.8"])]
Interval = Annotated[
    str | None,
    Query(
        alias="datetime", max_length=100, description="RFC 3339, or an interval", examples=["2022-09-01T00:00:00Z/.."]
    ),
]


class Shape(Strict):
    "A GeoJSON geometry."

    type: Literal["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"]
    coordinates: Annotated[list[Any], Field(max_length=1000)]


class Search(BaseModel):
    "Body of a search. What is not known here is not looked at."

    model_config = ConfigDict(json_schema_extra={"examples": [{"bbox": [31, -18, 31.1, -17.8], "limit": 10}]})
    bbox: Annotated[list[Degrees] | None, Field(min_length=4, max_length=6)] = None
    intersects: Shape | None = None
    datetime: Annotated[str | None, Field(max_length=100)] = None
    collections: Annotated[list[str] | None, Field(max_length=10)] = None
    ids: Annotated[list[str] | None, Field(max_length=MOST_IDS)] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    token: Annotated[str | None, Field(max_length=64)] = None


# --- what there is ---------------------------------------------------------------------------------------------------


@router.get("", summary="STAC API")
async def landing(request: Request) -> Response:
    "Landing page of the STAC API."
    base = str(request.base_url).rstrip("/")
    stac = f"{base}/stac"
    search = {"href": f"{stac}/search", "rel": "search", "type": GEOJSON}
    links = [
        {"href": stac, "rel": "self", "type": JSON},
        {"href": stac, "rel": "root", "type": JSON},
        {"href": f"{stac}/conformance", "rel": "conformance", "type": JSON},
        {"href": f"{stac}/collections", "rel": "data", "type": JSON},
        {"href": f"{stac}/collections/{COLLECTION}", "rel": "child", "type": JSON},
        search | {"method": "GET"},
        search | {"method": "POST"},
        {"href": f"{base}/openapi.json", "rel": "service-desc", "type": "application/vnd.oai.openapi+json;version=3.1"},
    ]
    about = {"type": "Catalog", "stac_version": "1.1.0", "id": "geocrop", "title": "geocrop"}
    return Json(about | {"description": "Crop maps that this service made.", "conformsTo": CONFORMS, "links": links})


@router.get("/conformance", summary="STAC conformance")
async def conformance() -> Response:
    "Conformance classes of the STAC API."
    return Json({"conformsTo": CONFORMS})


@router.get("/collections", summary="Collections")
def collections(request: Request, here: Here) -> Response:
    "All collections; there is one."
    stac = f"{request.base_url}stac"
    links = [{"href": f"{stac}/collections", "rel": "self", "type": JSON}, {"href": stac, "rel": "root", "type": JSON}]
    return Json({"collections": [_collection(here, stac)], "links": links})


@router.get("/collections/{collection}", responses=documented(404), summary="A collection")
def collection(request: Request, here: Here, collection: CollectionId) -> Response:
    "What the maps have in common."
    _check_collection(collection)
    return Json(_collection(here, f"{request.base_url}stac"))


def _collection(here: Service, stac: str) -> dict[str, Any]:
    seasons, mine = here.seasons(), f"{stac}/collections/{COLLECTION}"
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": COLLECTION,
        "title": "Crop maps",
        "description": "Maps of crop types in summer seasons, one item a job.",
        "license": "other",
        "keywords": ["crop type", "Sentinel-2"],
        "extent": {
            "spatial": {"bbox": [list(home_bbox(here))]},
            "temporal": {"interval": [[f"{min(seasons)}-01-01T00:00:00Z", None]]},
        },
        "links": [
            {"href": mine, "rel": "self", "type": JSON},
            {"href": stac, "rel": "root", "type": JSON},
            {"href": stac, "rel": "parent", "type": JSON},
            {"href": f"{mine}/items", "rel": "items", "type": GEOJSON},
        ],
    }


def _check_collection(collection: str) -> None:
    if collection != COLLECTION:
        raise NotFound(
            f"Collection {collection[:40]!r}", found="none", expected=COLLECTION, remedy="See /stac/collections."
        )


# --- items -----------------------------------------------------------------------------------------------------------


@router.get(
    "/collections/{collection}/items",
    response_class=GeoJson,
    responses=documented(401, 404, 422, 503),
    summary="Maps of the collection",
)
def items(
    request: Request,
    here: Here,
    user: SignedIn,
    collection: CollectionId,
    bbox: Bbox = None,
    datetime: Interval = None,
    limit: Limit = 10,
    token: After = None,
) -> Response:
    "Maps of whoever asks, by place and time."
    _check_collection(collection)
    wanted = Search.model_construct(bbox=_numbers(bbox), datetime=datetime, limit=limit, token=token)
    return _found(request, here, user, wanted, f"collections/{COLLECTION}/items")


@router.get(
    "/collections/{collection}/items/{id}", response_class=GeoJson, responses=documented(401, 404, 503), summary="A map"
)
def item(request: Request, here: Here, user: SignedIn, collection: CollectionId, id: JobId) -> Response:
    "The STAC item of a map."
    _check_collection(collection)
    return GeoJson(_item(here.products.of(id, user), id, str(request.base_url)))


@router.get("/search", response_class=GeoJson, responses=documented(401, 404, 422, 503), summary="Search")
def search(
    request: Request,
    here: Here,
    user: SignedIn,
    bbox: Bbox = None,
    datetime: Interval = None,
    collections: Annotated[str | None, Query(max_length=400)] = None,
    ids: Annotated[str | None, Query(max_length=4000, description="Separated by commas")] = None,
    limit: Limit = 10,
    token: After = None,
) -> Response:
    "Maps of whoever asks, by place, time and id."
    wanted = Search.model_construct(
        bbox=_numbers(bbox), datetime=datetime, limit=limit, token=token,
        collections=collections.split(",") if collections else None, ids=ids.split(",")[:MOST_IDS] if ids else None,
    )  # fmt: skip
    return _found(request, here, user, wanted, "search")


@router.post("/search", response_class=GeoJson, responses=documented(400, 401, 404, 413, 422, 503), summary="Search")
def search_with(request: Request, here: Here, user: SignedIn, body: Search) -> Response:
    "Maps of whoever asks, by place, time and id."
    return _found(request, here, user, body, "search")


def _found(request: Request, here: Service, user: User, wanted: Search, path: str) -> Response:
    stac = f"{request.base_url}stac"
    found = _ask(here, user, wanted)
    features = [_item(here.products.made(job), job.id, str(request.base_url)) for job in found[: wanted.limit]]
    links: list[dict[str, Any]] = [{"href": stac, "rel": "root", "type": JSON}]
    if len(found) > wanted.limit:
        links.append(_next(request, f"{stac}/{path}", paging.cursor(found[wanted.limit - 1].id)))
    page = {"type": "FeatureCollection", "features": features, "numberReturned": len(features), "links": links}
    return GeoJson(page, headers={"Cache-Control": "no-store"})


def _next(request: Request, href: str, cursor: str) -> dict[str, Any]:
    "The link to the next page: the same question, from there on."
    link = {"rel": "next", "type": GEOJSON, "method": request.method}
    if request.method == "POST":
        return link | {"href": href, "body": {"token": cursor}, "merge": True}
    return link | {"href": paging.address(href, **(dict(request.query_params) | {"token": cursor}))}


def _ask(here: Service, user: User, wanted: Search) -> list[Job]:
    "One job more than a page holds, where there are as many."
    if wanted.collections and COLLECTION not in wanted.collections:
        return []
    if wanted.ids:
        return _named(here, user, wanted.ids)
    place = wanted.intersects.model_dump() if wanted.intersects else None
    box = wanted.bbox and [*wanted.bbox[:2], *wanted.bbox[len(wanted.bbox) // 2 :][:2]]  # heights are left out
    return jobs.found(
        here.engine, user, bbox=box, intersects=place, interval=_interval(wanted.datetime), limit=wanted.limit + 1,
        after=paging.job_id(wanted.token),
    )  # fmt: skip


def _named(here: Service, user: User, ids: list[str]) -> list[Job]:
    there = {job.id: job for job in jobs.several(here.engine, [id for id in ids if jobs.known(id)])}
    return [
        job
        for job in (there[id] for id in ids if id in there)
        if job.status == "successful" and (user.admin or job.user_id == user.id)
    ]


def _item(product: Product, id: str, base: str) -> dict[str, Any]:
    "An item with the addresses of this service."
    stac, files = f"{base}stac", f"{base}jobs/{id}/files/"
    assets = {
        name: asset | {"href": files + asset["href"].removeprefix("./")} if asset["href"].startswith("./") else asset
        for name, asset in product.item["assets"].items()
    }
    mine = f"{stac}/collections/{COLLECTION}"
    links = [
        {"href": f"{mine}/items/{id}", "rel": "self", "type": GEOJSON},
        {"href": stac, "rel": "root", "type": JSON},
        {"href": mine, "rel": "parent", "type": JSON},
        {"href": mine, "rel": "collection", "type": JSON},
        *(link for link in product.item["links"] if link["rel"] not in ("self", "root", "parent", "collection")),
    ]
    return product.item | {"id": id, "collection": COLLECTION, "assets": assets, "links": links}


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in (4, 6) or not all(map(math.isfinite, found)):
        raise SchemaError("bbox", found=repr(text[:60]), expected="west,south,east,north", remedy="Longitude first.")
    return found


def _interval(text: str | None) -> tuple[dt.date | None, dt.date | None]:
    "First and last day of a moment or an interval of RFC 3339; None is open."
    if text is None:
        return None, None
    first, slash, last = text.partition("/")
    try:
        days = _day(first), _day(last) if slash else _day(first)
        if (days == (None, None) and text != "../..") or (days[0] and days[1] and days[0] > days[1]):
            raise ValueError
        return days
    except (ValueError, OverflowError):
        raise SchemaError(
            "datetime",
            found=repr(text[:60]),
            expected="a moment, or an interval like 2022-09-01T00:00:00Z/..",
            remedy="Write it as RFC 3339.",
        ) from None


def _day(text: str) -> dt.date | None:
    if text in ("", ".."):
        return None
    moment = dt.datetime.fromisoformat(text)
    return (moment if moment.tzinfo is None else moment.astimezone(dt.UTC)).date()
