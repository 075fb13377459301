"The application: routes and what stands around them, put together and nothing else."

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from .lean import lean

with lean():
    from fastapi import FastAPI
    from starlette.middleware import Middleware

    from serving.observed import Observed

    from . import answers, auth, baselines, health, jobs, legends, pages, problems, processes, results, stac, tiles
    from .bounded import Bounded
    from .health import Health
    from .legends import released
    from .pages import Pages
    from .reconciler import Reconciler
    from .service import Service

# Those that are asked for most stand first: routes are tried in order.
ROUTERS = (
    jobs.router, processes.router, tiles.router, results.router, auth.router, answers.router, baselines.router,
    legends.router, stac.router, health.router, pages.router,
)  # fmt: skip
MOST_BYTES = 256 * 1024  # of a body: a polygon of as many corners as are allowed is a quarter of it
SOON_S = 0.3  # after the start: whoever waits for the process is answered before anything is made ready
HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
ABOUT = "Crop maps on demand: OGC API - Processes, STAC, tiles, Open Inference Protocol. Errors are problem+json."


def create_app(
    folder: str | Path | None = None,  # Project folder; None is the one we are in
) -> FastAPI:
    "The API of a project folder. SettingsError where it may not start like this."
    here = Service.of(folder)
    app = FastAPI(
        title="geocrop",
        version=released(),
        description=ABOUT,
        lifespan=_lifespan,
        middleware=[
            Middleware(Observed, requests=here.metrics.requests, headers=HEADERS, closing=here.closing),
            Middleware(Bounded, most=MOST_BYTES, more={answers.INFER: answers.MOST_BYTES}),
        ],
        docs_url=None,  # both would load scripts from elsewhere
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.service, app.state.pages, app.state.health = here, Pages(basemap=here.api.basemap), Health(here)
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app, ROUTERS)
    app.openapi = lambda: _documented(app)  # type: ignore[method-assign]  # the way FastAPI documents
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    here: Service = app.state.service
    reconciler = Reconciler(here)
    reconciler.start()
    here.caller.start()
    warm = threading.Timer(SOON_S, tiles.warm, args=(here,))
    warm.daemon = True
    warm.start()
    try:
        yield
    finally:
        warm.cancel()
        here.close()
        here.caller.stop()
        reconciler.stop()
        await here.answers.aclose()
        here.engine.dispose()


def _documented(app: FastAPI) -> dict[str, Any]:
    "The OpenAPI document, in which all errors are problems, those that the framework adds as well."
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        schemas = document["components"]["schemas"]
        schemas["Problem"] = problems.SCHEMA
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for operation in (operation for path in document["paths"].values() for operation in path.values()):
            if "422" in operation["responses"]:
                operation["responses"]["422"] = problems.documented(422)[422]
        app.openapi_schema = document
    return app.openapi_schema
