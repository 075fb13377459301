"Results of jobs: GET /jobs/{id}/results, its files (with ranges, as GDAL reads them), and a pixel."

import hashlib
import re
from typing import Annotated, Any

import anyio
import orjson
from fastapi import APIRouter, Header, Path, Request
from starlette.responses import Response, StreamingResponse

from serving.jobs.jobs import Job
from serving.jobs.users import User

from . import palette, raster
from .auth import SignedIn
from .baselines import IfNoneMatch
from .errors import NotFound
from .jobs import JobId, OwnJob
from .problems import documented, problem
from .products import ITEM, MAP, STATISTICS, STYLE, published
from .replies import Json, not_modified
from .service import Here, Service
from .shapes import PointValues, QueryLat, QueryLon, ResultsPage, media

router = APIRouter(tags=["results"])
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
OURS = "private, max-age=3600"  # of somebody's own: no cache in between keeps it


@router.get(
    "/jobs/{id}/results",
    response_model=ResultsPage,
    responses={304: {"description": "Not modified"}, **documented(401, 404, 503)},
    summary="Results of a job",
)
def results(here: Here, job: OwnJob, if_none_match: IfNoneMatch = None) -> Response:
    "Where the files and tiles of a map are, its legend and its statistics."
    files = published(job)
    identity = hashlib.sha256("".join(f["sha256"] for f in files.values()).encode()).hexdigest()
    headers = {"ETag": f'"{identity}"', "Cache-Control": "private, no-cache"}
    return not_modified(if_none_match, headers) or Json(_page(here, job, files), headers=headers)


def _page(here: Service, job: Job, files: dict[str, Any]) -> dict[str, Any]:
    product = here.products.made(job)
    outputs = {"map": MAP, "item": ITEM, "statistics": STATISTICS, "style": STYLE}
    tiles = f"/tiles/jobs/{job.id}/{{z}}/{{x}}/{{y}}.png?mode="
    links = {
        output: {"href": f"/jobs/{job.id}/files/{name}", "type": media(name)}
        for output, name in outputs.items()
        if name in files
    }
    return links | {
        "tiles": {mode: tiles + mode for mode in ("class", "confidence")},
        "bbox": product.bbox,
        "legend": palette.rows(product.legend),
        "summary": orjson.loads(here.results.read(job, STATISTICS)),
    }


# --- files -----------------------------------------------------------------------------------------------------------


@router.head("/jobs/{id}/files/{name}", include_in_schema=False)
@router.get(
    "/jobs/{id}/files/{name}",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "A part", "content": {"*/*": {"schema": {"type": "string"}}}},
        304: {"description": "Not modified"},
        **documented(401, 404, 416, 503),
    },
    summary="A file of a result",
)
def file(
    request: Request,
    here: Here,
    job: OwnJob,
    name: Annotated[str, Path(max_length=128, examples=[MAP])],
    range: Annotated[str | None, Header(max_length=200, description="One range of bytes")] = None,
    if_range: Annotated[str | None, Header(max_length=100)] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    "A file as it was published, or a part of it."
    entry = published(job).get(name)
    if entry is None:
        raise NotFound(
            f"File {name[:60]!r} of job {job.id}",
            found="no such file",
            expected=", ".join(published(job)),
            remedy="See its results.",
        )
    size, etag = entry["size"], f'"{entry["sha256"]}"'
    headers = {
        "ETag": etag,
        "Cache-Control": OURS,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="geocrop-{job.id[:8]}-{name}"',
    }
    if unchanged := not_modified(if_none_match, headers):
        return unchanged
    span = _span(range, size) if if_range in (None, etag) else None
    if span and span[0] >= span[1]:
        return problem(
            416, "No such range", f"The file has {size} bytes.", headers={"Content-Range": f"bytes */{size}"}
        )
    start, end = span or (0, size)
    headers["Content-Length"] = str(end - start)
    if span:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    if request.method == "HEAD":
        return Response(None, 200, headers, media_type=media(name))
    pieces = here.results.open(job, name, start=start, end=end)
    return StreamingResponse(pieces, 206 if span else 200, headers, media_type=media(name))


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    "First byte, and behind the last, of a header with one range; None: all of it, as for a header we do not know."
    match = RANGE.fullmatch(header or "")
    if not match or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None  # not a range at all (RFC 9110, 14.1.1)
    return int(first), min(int(last) + 1, size) if last else size


# --- a pixel ---------------------------------------------------------------------------------------------------------


@router.get(
    "/jobs/{id}/point", response_model=PointValues, responses=documented(401, 404, 422, 503), summary="A pixel of a map"
)
async def point(here: Here, user: SignedIn, id: JobId, lon: QueryLon, lat: QueryLat) -> Response:
    "Class, confidence and the rest at a place."
    return Json(await anyio.to_thread.run_sync(_point, here, id, user, lon, lat, limiter=raster.readers))


def _point(here: Service, id: str, user: User, lon: float, lat: float) -> dict[str, Any]:
    product = here.products.of(id, user)
    found = raster.values(product.path, lon, lat)
    if found is None or found[0] not in product.legend.ids:
        return dict.fromkeys(("class", "confidence", "margin", "clear_days", "applicable"))
    value, confidence, margin, days, like = found
    row = next(row for row in palette.rows(product.legend) if row["id"] == value)
    applicable = {0: False, 1: True}.get(like)
    return {
        "class": row, "confidence": confidence, "margin": margin, "clear_days": days, "applicable": applicable,
    }  # fmt: skip
