"Tiles of results and baselines, WebMercatorQuad (XYZ), 256 x 256 PNG."

import logging
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from geocrop.schema import GeocropError

from . import palette, raster
from .auth import SignedIn
from .baselines import BaselineYear, IfNoneMatch
from .jobs import JobId
from .problems import documented
from .products import Product
from .raster import MAX_ZOOM, Colours, RasterioError
from .replies import not_modified
from .results import OURS
from .service import Here, Service
from .shelf import Baseline

log = logging.getLogger(__name__)
router = APIRouter(tags=["tiles"])
Zoom = Annotated[int, Path(ge=0, le=MAX_ZOOM)]
Place = Annotated[int, Path(ge=0, lt=2**MAX_ZOOM)]
Mode = Annotated[Literal["class", "confidence"], Query(description="What is painted")]
CONFIDENCE = palette.confidence()
PNG = "image/png"
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {PNG: {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "Not modified"},
}


@router.get(
    "/tiles/jobs/{id}/{z}/{x}/{y}.png",
    response_class=Response,
    responses={**PICTURE, **documented(401, 404, 422, 503)},
    summary="A tile of a map",
)
async def of_job(
    here: Here,
    user: SignedIn,
    id: JobId,
    z: Zoom,
    x: Place,
    y: Place,
    mode: Mode = "class",
    if_none_match: IfNoneMatch = None,
) -> Response:
    "Classes in the colours of their legend, or confidence in those of its ramp (GET /legend). Nothing there: empty."
    product = here.products.known(id, user)
    if product is None:
        product = await anyio.to_thread.run_sync(here.products.of, id, user)
    headers = {"ETag": f'"{product.etag[:32]}-{mode}"', "Cache-Control": OURS}
    if unchanged := not_modified(if_none_match, headers):
        return unchanged
    band, colours = (1, product.colours) if mode == "class" else (2, CONFIDENCE)
    return Response(await _picture(product, z, x, y, band, colours), media_type=PNG, headers=headers)


@router.get(
    "/tiles/baselines/{year}/{z}/{x}/{y}.png",
    response_class=Response,
    responses={**PICTURE, **documented(404, 422, 503)},
    summary="A tile of a baseline",
)
async def of_baseline(
    here: Here, year: BaselineYear, z: Zoom, x: Place, y: Place, if_none_match: IfNoneMatch = None
) -> Response:
    "Classes in the colours of their legend. Nothing there: empty."
    found = await anyio.to_thread.run_sync(here.shelf.baseline, year)
    headers = {"ETag": f'"{found.etag}"', "Cache-Control": "public, max-age=3600"}
    if unchanged := not_modified(if_none_match, headers):
        return unchanged
    at = (found.path, found.etag, z, x, y)
    if (png := here.shelf.pictures.get(at)) is None:
        png = here.shelf.pictures[at] = await _picture(found, z, x, y, 1, palette.colours(found.legend))
    return Response(png, media_type=PNG, headers=headers)


async def _picture(map: Product | Baseline, z: int, x: int, y: int, band: int, colours: Colours) -> bytes:
    return await anyio.to_thread.run_sync(_painted, map, z, x, y, band, colours, limiter=raster.readers)


def _painted(map: Product | Baseline, z: int, x: int, y: int, band: int, colours: Colours) -> bytes:
    return raster.tile(map.path, x, y, z, band, colours, map.bbox)


def warm(here: Service) -> None:
    "What the first visitor would wait for: baselines are opened, and a picture of the latest is painted for nobody."
    try:
        opened = [here.shelf.baseline(year) for year in here.shelf.years()]
        if opened:
            latest = opened[-1]
            west, south, east, north = latest.bbox
            # The middle, which something is on: an empty picture would load neither projections nor colours.
            x, y = raster.place((west + east) / 2, (south + north) / 2, latest.maxzoom)
            _painted(latest, latest.maxzoom, x, y, 1, palette.colours(latest.legend))
    except (GeocropError, RasterioError) as error:
        log.warning("baselines: %s", error)
