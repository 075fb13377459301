"""The side of the worker that answers at once: quotes, the season of a pixel, rows of features.

    python -m serving.worker.answers [--host H] [--port N | --fd N]

For the API alone, which checks who asks: it listens on the loopback, or where only the API can reach it. It follows
the champion: while a new one is loaded, the one before answers.
"""

import argparse
import logging
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
import uvicorn
from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from geocrop import settings
from geocrop.mapping import MapModel
from geocrop.schema import AOI, CubeError, GeocropError, ItemsError, SchemaError, Season
from geocrop.store import bucket
from serving import tracing
from serving.jobs import database, models
from serving.jobs.models import Model
from serving.logs import log_to_stderr
from serving.observed import Observed

from . import inference, outlook
from .maps import Loaded, compiling_once
from .metrics import Metrics

log = logging.getLogger("serving.worker.answers")  # whatever it is started as
FOLLOW_S = 2.0  # between two looks at who the champion is
MOST_BYTES = 32 * 2**20  # of a request
AT_ONCE = 4  # requests that are worked on; others wait
KEPT_S = 75  # an idle connection; longer than the API keeps it (httpx: 5 s), or it asks on one that is just closing
ASKERS_FAULT = (SchemaError, ItemsError, CubeError)  # nothing there, or nothing that can be read there


class Place(BaseModel):
    "Of which a map may be asked."

    model_config = ConfigDict(extra="ignore")
    aoi: tuple[float, float, float] | dict[str, Any]  # (lon, lat, radius_m) or GeoJSON Polygon
    year: int


class Pixel(BaseModel):
    "A place, and a season."

    lon: float = Field(ge=-180, le=180)
    lat: float = Field(ge=-90, le=90)
    year: int


@dataclass(frozen=True, slots=True)
class Champion:
    "The model that answers."

    model: Model
    ready: MapModel


class NotReady(GeocropError):
    "No champion has been loaded yet."


class Answers:
    "What is shared by all that is asked: the champion, the database, how fast maps have been."

    def __init__(self) -> None:
        self.store, self.name = settings.settings("store").models, settings.params("base").name
        self.engine = database.connect(settings.settings("database").url)
        self.champion: Champion | None = None
        self.first_pace: outlook.Pace | None = None
        self.over, self.metrics = threading.Event(), Metrics()
        self._loaded = Loaded()

    def follow(self) -> None:
        "Load the champion, whoever it is, until `over`."
        said = ""
        while not self.over.is_set():
            try:
                self._look()
                said = ""
            except Exception as error:  # whatever it is, the champion before goes on answering
                if str(error) != said:
                    log.warning("champion: %s", error)
                said = str(error)
            self.over.wait(FOLLOW_S)

    def _look(self) -> None:
        now = models.champion(bucket(self.store), self.name)
        if self.champion is None or self.champion.model != now:
            with compiling_once():
                self.champion = Champion(now, self._loaded.get(self.store, now))
            self.metrics.follows(now)
            log.info("champion: %s %s", now.name, now.version)
        elif self.first_pace is None:  # not at once: workers have something to compile, too
            with compiling_once():
                self.first_pace = outlook.first_pace(self.champion.ready)

    def _known(self) -> Champion:
        if self.champion is None:
            raise NotReady("Champion", found="none loaded yet", expected="one", remedy="Ask again in a while.")
        return self.champion

    def quote(self, asked: "Place") -> dict[str, Any]:
        "What a map would be, and take."
        area = asked.aoi if isinstance(asked.aoi, dict) else AOI(*asked.aoi)
        at = outlook.pace(self.engine, self.first_pace)
        if at is None:
            raise NotReady("Pace", found="none measured yet", expected="one", remedy="Ask again in a while.")
        return outlook.quote(area, _season(asked.year), at)

    def curve(self, asked: "Pixel") -> dict[str, Any]:
        "NDVI of a pixel."
        return outlook.curve(asked.lon, asked.lat, _season(asked.year))

    def metadata(self) -> dict[str, Any]:
        "What the champion takes and gives."
        known = self._known()
        return inference.metadata(known.model, known.ready)

    def infer(self, page: Any) -> dict[str, Any]:
        "Rows of features -> classes and probabilities."
        known = self._known()
        return inference.infer(known.model, known.ready, page, self.metrics.inferred)


def _season(year: int) -> Season:
    base = settings.params("base")
    return Season(year, base.start, base.end)


# --- over HTTP -------------------------------------------------------------------------------------------------------


def _json(page: Any, status: int = 200, media: str = "application/json") -> Response:
    return Response(orjson.dumps(page, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type=media)


def _problem(error: GeocropError) -> Response:
    status = 422 if isinstance(error, ASKERS_FAULT) else 503
    parts = {name: str(getattr(error, name)) for name in ("thing", "found", "expected", "remedy")}
    page = {"type": "about:blank", "title": error.thing, "status": status, "detail": str(error), **parts}
    return _json(page, status, "application/problem+json")


async def _body(request: Request) -> Any:
    "What was sent, parsed; SchemaError where it is too much, or no JSON."
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > MOST_BYTES:
            raise SchemaError("Request", found="more than that", expected=f"{MOST_BYTES} bytes", remedy="Send less.")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise SchemaError("Request", found=str(error), expected="JSON", remedy="Correct it.") from None


def create_app() -> FastAPI:
    "The application; it follows the champion as long as it runs."
    answers, turn = Answers(), threading.BoundedSemaphore(AT_ONCE)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        follower = threading.Thread(target=answers.follow, name="champion", daemon=True)
        follower.start()
        yield
        answers.over.set()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.add_middleware(Observed, requests=answers.metrics.requests, headers=[], closing=answers.over)

    def work(answer: Callable[..., dict[str, Any]], *what: Any) -> dict[str, Any]:
        with turn:
            return answer(*what)

    @app.exception_handler(GeocropError)
    async def problem(_request: Request, error: GeocropError) -> Response:
        return _problem(error)

    @app.post("/quote")
    def quote(asked: Place) -> Response:
        return _json(work(answers.quote, asked))

    @app.post("/curve")
    def curve(asked: Pixel) -> Response:
        return _json(work(answers.curve, asked))

    @app.post(f"/v2/models/{inference.NAME}/infer")
    async def infer(request: Request) -> Response:
        return _json(await run_in_threadpool(work, answers.infer, await _body(request)))

    @app.get(f"/v2/models/{inference.NAME}")
    def metadata() -> Response:
        return _json(work(answers.metadata))

    @app.get("/v2")
    async def server() -> Response:
        return _json(inference.server())

    @app.get("/v2/health/live")
    async def live() -> Response:
        return _json({"live": True})

    @app.get("/v2/health/ready")
    async def ready() -> Response:
        return _json({"ready": answers.champion is not None}, 200 if answers.champion else 503)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(answers.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def main(words: list[str] | None = None) -> int:
    "Answer until SIGTERM."
    where = urlsplit(settings.settings("api").answers)
    parser = argparse.ArgumentParser(prog="python -m serving.worker.answers", description="Answers, for the API.")
    parser.add_argument("--host", default=where.hostname, help="address; default: that of api.answers in settings.ini")
    parser.add_argument("--port", type=int, default=where.port or 80, help="default: likewise")
    parser.add_argument("--fd", type=int, help="number of a listening socket that was inherited, instead of these")
    asked = parser.parse_args(words)
    log_to_stderr()
    tracing.begin("answers")
    config = uvicorn.Config(
        create_app(), asked.host, asked.port, log_config=None, access_log=False, timeout_keep_alive=KEPT_S
    )
    listener = socket.socket(fileno=asked.fd) if asked.fd is not None else config.bind_socket()
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        tracing.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
