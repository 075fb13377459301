"What the routes of one process share: settings read once, the database, the store, and who may come in."

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
from cachetools import TTLCache, cached
from fastapi import Depends, Request
from sqlalchemy import Engine

from geocrop import settings
from geocrop.schema import Area, Legend, Season, SettingsError
from geocrop.settings import Api, Base, Bounds, Jobs
from geocrop.store import bucket
from serving import tracing
from serving.jobs import database, models
from serving.jobs.models import Model
from serving.jobs.results import Results

from . import tokens
from .caller import Caller
from .changes import Changes
from .drift import Drift
from .metrics import Metrics
from .products import Products
from .replies import Json
from .shapes import status_info
from .shelf import Shelf
from .tokens import Door

FIRST_SEASON = 2017  # Sentinel-2B flies since March 2017: the first summer that is seen every five days
CHAMPION_S = 2.0  # how long a submission may still be given the champion before
ANSWERS_S, CONNECT_S = 30.0, 1.0  # how long the other side may think, and take to pick up


@dataclass(frozen=True)
class Service:
    "The service of a project folder, as one process of the API sees it."

    folder: Path
    base: Base
    api: Api
    limits: Jobs
    bounds: Bounds
    area: Area  # Of the project
    legend: Legend
    catalogue: str  # Path or address
    redis_url: str
    engine: Engine
    results: Results
    shelf: Shelf
    champion: Callable[[], Model]  # What new jobs are made with
    door: Door
    products: Products
    changes: Changes
    caller: Caller
    answers: httpx.AsyncClient
    metrics: Metrics
    closing: threading.Event = field(default_factory=threading.Event)  # The process is about to end

    @classmethod
    def of(
        cls,
        folder: str | Path | None = None,  # Project folder; None is the one we are in
    ) -> "Service":
        "The service that settings.ini describes. Nothing has been asked of any server yet. SettingsError, StoreError."
        home = settings.home(folder)
        store, api = settings.settings("store", home), settings.settings("api", home)
        if not store.results or not store.models:
            raise SettingsError(
                "settings.ini [store]",
                found="no results or no models",
                expected="a folder or s3://bucket for each",
                remedy="Say where the service keeps what it makes.",
            )
        base = settings.params("base", home)
        engine = database.connect(settings.settings("database", home).url)
        results, bundles = Results(bucket(store.results, make=True)), bucket(store.models, make=True)
        champion = cached(TTLCache(1, CHAMPION_S), lock=threading.Lock())(lambda: models.champion(bundles, base.name))
        limits, legend = settings.settings("jobs", home), settings.legend(home)
        redis_url = settings.settings("redis", home).url
        patience = httpx.Timeout(ANSWERS_S, connect=CONNECT_S, pool=CONNECT_S)
        return cls(
            folder=home,
            base=base,
            api=api,
            limits=limits,
            bounds=settings.bounds(home),
            area=settings.area(home),
            legend=legend,
            catalogue=settings.settings("catalogue", home).href,
            redis_url=redis_url,
            engine=engine,
            results=results,
            shelf=Shelf(bucket(store.baselines, make=True) if store.baselines else None),
            champion=champion,
            door=Door(engine, tokens.secret(api, home)),
            products=Products(engine, results),
            caller=Caller(redis_url),
            changes=Changes(engine, lambda job: bytes(Json(status_info(job)).body)),
            metrics=Metrics(engine, champion, classes=legend.names, lease_s=limits.lease_s, drift=Drift(results.store)),
            answers=httpx.AsyncClient(
                base_url=api.answers, timeout=patience, trust_env=False, event_hooks={"request": [_traced]}
            ),
        )

    def close(self) -> None:
        "The process is about to end: streams end, and clients are asked to come to another one."
        self.closing.set()
        self.changes.close()

    def seasons(self) -> list[int]:
        "Years of the seasons that can be mapped: that of a catalogue on disk, or all of an archive's that have ended."
        if not self.catalogue.startswith(("http://", "https://")) or self.catalogue.endswith(".json"):
            return [self.base.year]
        today = settings.today()
        years = range(FIRST_SEASON, today.year + 1)
        return [year for year in years if Season(year, self.base.start, self.base.end).last < today]


async def _traced(request: httpx.Request) -> None:
    "The other side goes on with the trace of the request that it is asked for."
    if parent := tracing.traceparent():
        request.headers["traceparent"] = parent


async def here(request: Request) -> Service:
    "The service of the application that a request came to."
    return request.app.state.service


Here = Annotated[Service, Depends(here)]
