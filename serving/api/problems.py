"""Errors as clients see them: `application/problem+json` (RFC 9457), one table of exception -> status.

What is the client's to know is told in the error's own words. What is not, is told to the log alone.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from geocrop.schema import GeocropError, SchemaError, StoreError
from serving.jobs import errors as jobs

from . import errors as api
from .raster import RasterioError
from .replies import Json

log = logging.getLogger(__name__)
MEDIA = "application/problem+json"
OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
MOST_ERRORS = 20  # of one request that are listed


@dataclass(frozen=True, slots=True)
class Answer:
    "How an exception is answered."

    status: int
    title: str
    type: str = "about:blank"
    retry_after_s: int | None = None  # None: trying again is no help, or the exception itself knows when
    told: bool = True  # Whether its words are for the client


ANSWERS: dict[type[Exception], Answer] = {
    SchemaError: Answer(422, "This cannot be mapped"),
    api.NotAllowed: Answer(401, "Not signed in"),
    api.TooManyTries: Answer(429, "Too many tries"),
    api.NotFound: Answer(404, "Not found"),
    api.NoSuchProcess: Answer(404, "No such process", OGC + "no-such-process"),
    api.NotReady: Answer(404, "No result yet", OGC + "result-not-ready"),
    api.Busy: Answer(503, "Busy", retry_after_s=1),
    api.AnswersAway: Answer(503, "No answer at the moment", retry_after_s=5),
    jobs.JobNotFound: Answer(404, "No such job", OGC + "no-such-job"),
    jobs.JobEnded: Answer(409, "The job has ended"),
    jobs.KeyReused: Answer(409, "The key belongs to another request"),
    jobs.QuotaExceeded: Answer(429, "No jobs left"),
    jobs.QueueFull: Answer(503, "The queue is full"),
    jobs.DatabaseUnavailable: Answer(503, "The database does not answer", retry_after_s=5, told=False),
    RasterioError: Answer(503, "The raster cannot be read", retry_after_s=5, told=False),
    StoreError: Answer(503, "The store does not answer", retry_after_s=5, told=False),
    Exception: Answer(500, "Something went wrong here", told=False),
}


def install(
    app: FastAPI,
    routers: Sequence[APIRouter],  # Those of the application
) -> None:
    "Answer every exception of an application by the table."
    app.state.routers = routers
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in ANSWERS:
        app.add_exception_handler(kind, respond)


async def respond(_request: Request, error: Exception) -> Response:
    "An exception as a problem."
    answer = next(ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS)
    if not answer.told:
        log.error("%s: %s", type(error).__name__, error)
        return problem(answer.status, answer.title, type=answer.type, retry_after_s=answer.retry_after_s)
    parts = ("found", "expected", "remedy") if isinstance(error, GeocropError) else ()
    more: dict[str, Any] = {part: str(getattr(error, part)) for part in parts}
    return problem(
        answer.status, answer.title, str(error), type=answer.type,
        retry_after_s=getattr(error, "retry_after_s", answer.retry_after_s),
        **more,
    )  # fmt: skip


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [{"where": list(e["loc"]), "what": e["msg"]} for e in error.errors()[:MOST_ERRORS]]
    detail = "; ".join(f"{'.'.join(map(str, e['where']))}: {e['what']}" for e in found)
    remedy = "Correct the request; /openapi.json says what is expected."
    return problem(422, "The request is not as expected", detail[:1000], remedy=remedy, errors=found)


async def _http(request: Request, error: Exception) -> Response:
    "What the framework raises: no such page, method not allowed, body too large."
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return problem(error.status_code, HTTPStatus(error.status_code).phrase, error.detail, headers=headers)


def _methods(request: Request) -> set[str]:
    "Methods of all routes of a path; the framework names those of the first alone."
    found: set[str] = set()
    for route in (route for router in request.app.state.routers for route in router.routes):
        if route.matches(request.scope)[0] != Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return found


def problem(
    status: int,
    title: str,
    detail: str = "",  # Empty: there is no more to say
    *,
    type: str = "about:blank",
    retry_after_s: int | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,  # Further members: found, expected, remedy, errors
) -> Response:
    "A problem+json response."
    page = {"type": type, "title": title, "status": status, **({"detail": detail} if detail else {}), **more}
    headers = {"Cache-Control": "no-store", **(headers or {})}
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Json(page, status, headers, media_type=MEDIA)


# --- documentation ---------------------------------------------------------------------------------------------------

SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong, RFC 9457.",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "description": "Kind of problem, an address; about:blank: the status says it all"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was found, what was expected, what to do"},
        "found": {"type": "string"},
        "expected": {"type": "string"},
        "remedy": {"type": "string", "description": "What to do about it"},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "Parts of the request, one by one"},
    },
    "example": {
        "type": "about:blank",
        "title": "This cannot be mapped",
        "status": 422,
        "detail": "Radius of the area: found 80.0 km; expected 50 km or less in one map. Map a part of it.",
        "found": "80.0 km",
        "expected": "50 km or less in one map",
        "remedy": "Map a part of it.",
    },
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    "The problems that a route may answer, for its `responses`."
    content = {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}
