"""What needs the science at once is asked of the worker's side: quotes, curves, rows of features.

The API says who may ask, checks place and season, bounds what goes through, and is patient for so long and no longer.
"""

import logging
from typing import Any

import httpx
import orjson
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from serving.jobs import jobs, workers

from .auth import SignedIn, signed_in
from .errors import AnswersAway
from .jobs import OwnJob
from .problems import MEDIA, documented
from .processes import ProcessId, check_process, checked
from .replies import Json
from .service import Here, Service
from .shapes import Ask, QueryLat, QueryLon, Quote

log = logging.getLogger(__name__)
router = APIRouter()
INFER = "/v2/models/geocrop/infer"
MOST_BYTES = 32 * 2**20  # of rows: 10,000 of 51 numbers with all their digits are half of it


async def ask(
    here: Service,
    method: str,
    path: str,
    body: bytes | None = None,  # JSON
) -> httpx.Response:
    "What the other side answers, where it is an answer or the asker's own fault. AnswersAway."
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        answer = await here.answers.request(method, path, content=body, headers=headers)
    except httpx.HTTPError as error:
        raise _away(f"{type(error).__name__} {error}".strip()) from None
    if answer.status_code >= 500:
        raise _away(f"status {answer.status_code}")
    return answer


def _away(found: str) -> AnswersAway:
    log.warning("answers: %s", found)
    return AnswersAway(
        "The side that answers at once", found="no answer", expected="one", remedy="Jobs go on; ask again in a while."
    )


def passed_on(answer: httpx.Response) -> Response:
    "An answer of the other side, as it is."
    media = answer.headers.get("content-type", "application/json" if answer.is_success else MEDIA)
    return Response(answer.content, answer.status_code, media_type=media, headers={"Cache-Control": "no-store"})


@router.post(
    "/processes/{process}/quote",
    response_model=Quote,
    responses=documented(400, 401, 404, 413, 422, 503),
    tags=["processes"],
    summary="What a map would cost",
)
async def quote(here: Here, user: SignedIn, process: ProcessId, body: Ask) -> Response:
    "Size, duration, expected clear days; and how long until it begins. Nothing is kept."
    check_process(process)
    checked(here, body.inputs)
    answer = await ask(here, "POST", "/quote", orjson.dumps(body.inputs.model_dump()))
    if not answer.is_success:
        return passed_on(answer)
    return Json(answer.json() | await run_in_threadpool(_queue, here), headers={"Cache-Control": "no-store"})


def _queue(here: Service) -> dict[str, Any]:
    "How many jobs wait, and how long the next one will. None where there is no worker, or no job has run yet."
    ahead = jobs.counts(here.engine)["accepted"]
    hands = len(workers.alive(here.engine, here.limits.lease_s))
    typical_s = jobs.run_s(here.engine)
    if not ahead and hands:
        wait_s: float | None = 0.0
    else:
        wait_s = ahead * typical_s / hands if hands and typical_s is not None else None
    return {"ahead": ahead, "seconds_until_start": wait_s}


class Curve(BaseModel):
    "The season of a pixel."

    model_config = ConfigDict(extra="allow")
    dates: list[str]
    ndvi: list[float | None]
    clear: list[bool]


@router.get(
    "/jobs/{id}/curve",
    response_model=Curve,
    responses=documented(400, 401, 404, 422, 503),
    tags=["results"],
    summary="The season of a pixel",
)
async def curve(here: Here, job: OwnJob, lon: QueryLon, lat: QueryLat) -> Response:
    "NDVI of every day on which the place was seen, clear or not."
    return passed_on(await ask(here, "POST", "/curve", orjson.dumps({"lon": lon, "lat": lat, "year": job.year})))


# --- Open Inference Protocol v2 --------------------------------------------------------------------------------------

ROWS = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "inputs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "shape", "datatype", "data"],
                "properties": {
                    "name": {"const": "features"},
                    "shape": {"type": "array", "prefixItems": [{"type": "integer"}, {"const": 51}], "minItems": 2},
                    "datatype": {"const": "FP32"},
                    "data": {"type": "array", "items": {"type": ["number", "null"]}, "description": "null: missing"},
                },
            },
        },
    },
    "example": {"inputs": [{"name": "features", "shape": [1, 51], "datatype": "FP32", "data": [0.5] * 51}]},
}


@router.post(
    INFER,
    dependencies=[Depends(signed_in)],
    responses=documented(400, 401, 404, 413, 422, 503),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": ROWS}}}},
    tags=["inference"],
    summary="Classes of rows of features",
)
async def infer(here: Here, request: Request) -> Response:
    "Open Inference Protocol v2: at most 10,000 rows of 51 features in; class and probabilities out."
    return passed_on(await ask(here, "POST", INFER, await request.body()))


async def _same(here: Here, request: Request) -> Response:
    "As the Open Inference Protocol v2 has it."
    return passed_on(await ask(here, "GET", request.url.path))


for path, summary in {
    "/v2": "Server of the Open Inference Protocol",
    "/v2/health/live": "Whether it lives",
    "/v2/health/ready": "Whether it has a model",
    "/v2/models/geocrop": "Inputs and outputs of the model",
}.items():
    router.add_api_route(
        path, _same, methods=["GET"], responses=documented(400, 503), tags=["inference"], summary=summary,
        operation_id=path.strip("/").replace("/", "_"),
    )  # fmt: skip
