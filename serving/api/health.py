"How the service is: GET /healthz (this process lives), /readyz (it can work), /system (each part), /metrics."

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import anyio
import httpx
import obstore
from fastapi import APIRouter, Depends, Request
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from geocrop.schema import GeocropError
from serving.jobs import database, queue, workers

from .problems import documented, problem
from .replies import Json
from .service import Here, Service
from .shapes import moment

router = APIRouter(tags=["operation"])
FRESH_S = 1.0  # how long an answer is good for: many ask, and asking costs
PATIENCE_S = 2.5  # with each part
NO_STORE = {"Cache-Control": "no-store"}


class State(BaseModel):
    "How a part is."

    model_config = ConfigDict(extra="allow")
    state: Literal["ok", "off", "away"]


class System(BaseModel):
    "How all parts are."

    services: dict[str, State]
    degraded: bool


class Health:
    "How the parts are, asked for once however many want to know."

    def __init__(self, here: Service):
        self._here, self._since = here, time.time()
        self._lock, self._asked, self._known = asyncio.Lock(), -FRESH_S, dict[str, Any]()
        self._threads = anyio.CapacityLimiter(8)  # of its own: a database that hangs must not keep us from saying so

    async def now(self) -> dict[str, Any]:
        "services -> state and facts; degraded: whether any that should answer does not."
        async with self._lock:
            if time.monotonic() - self._asked > FRESH_S:
                self._known, self._asked = await self._ask(), time.monotonic()
            return self._known

    async def _ask(self) -> dict[str, Any]:
        here = self._here
        asked = {
            "database": self._in_thread(lambda: _database(here)),
            "queue": self._queue(),
            "store": self._in_thread(lambda: _store(here)),
            "workers": self._in_thread(lambda: _workers(here)),
            "answers": self._answers(),
        }
        states = dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))
        states = {"api": {"state": "ok", "since": moment(self._since)}, **states}
        return {"services": states, "degraded": any(state["state"] == "away" for state in states.values())}

    async def _in_thread(self, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        began = time.monotonic()
        try:
            with anyio.fail_after(PATIENCE_S):
                found = await anyio.to_thread.run_sync(ask, limiter=self._threads, abandon_on_cancel=True)
            return {"state": "ok", "ms": round((time.monotonic() - began) * 1000, 1)} | found
        except (GeocropError, obstore.exceptions.BaseError, OSError, TimeoutError):
            return {"state": "away"}

    async def _queue(self) -> dict[str, Any]:
        url = self._here.redis_url
        if not url:
            return {"state": "off"}  # workers look into the database: nothing is missing
        return await self._in_thread(lambda: {"state": "ok" if queue.alive(url) else "away"})

    async def _answers(self) -> dict[str, Any]:
        began = time.monotonic()
        try:
            answer = await self._here.answers.get("/v2/health/live", timeout=PATIENCE_S)
        except httpx.HTTPError:
            return {"state": "away"}
        if not answer.is_success:
            return {"state": "away"}
        return {"state": "ok", "ms": round((time.monotonic() - began) * 1000, 1)}


async def health(request: Request) -> Health:
    "How the parts of the application are that a request came to."
    return request.app.state.health


Asked = Annotated[Health, Depends(health)]


def _database(here: Service) -> dict[str, Any]:
    database.read(here.engine, database.now)
    return {}


def _store(here: Service) -> dict[str, Any]:
    obstore.list_with_delimiter(here.results.store)  # one level: a few names
    return {}


def _workers(here: Service) -> dict[str, Any]:
    alive = len(workers.alive(here.engine, here.limits.lease_s))
    return {"state": "ok" if alive else "away", "alive": alive}


@router.get("/healthz", summary="This process lives")
async def healthz() -> Response:
    "Touches nothing: a server that is away is no reason to restart this one."
    return Json({"status": "ok"}, headers=NO_STORE)


@router.get("/readyz", response_model=System, responses=documented(503), summary="It can work")
async def readyz(here: Here, health: Asked) -> Response:
    "Ready as long as the database answers; without queue, store or workers it is degraded, and says so."
    now = await health.now()
    if now["services"]["database"]["state"] != "ok" or here.closing.is_set():
        reason = "It is about to end." if here.closing.is_set() else "The database does not answer."
        return problem(503, "Not ready", reason, retry_after_s=5, **now)
    return Json(now, headers=NO_STORE)


@router.get("/system", response_model=System, summary="Each part of the service")
async def system(health: Asked) -> Response:
    "The state of each part: ok, away, or off where it is not used. Asked for at most once a second."
    return Json(await health.now(), headers=NO_STORE)


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
def metrics(here: Here) -> Response:
    "Requests by route, jobs by status, and what Python tells of its process."
    return Response(generate_latest(here.metrics.registry), headers=NO_STORE | {"Content-Type": CONTENT_TYPE_LATEST})
