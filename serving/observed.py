"What stands around every request: its time, its trace, its line in the log, and headers that every answer has."

import logging
import threading
import time
from typing import Any

from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import logs, tracing

log = logging.getLogger("serving.requests")
NOWHERE = "(none)"  # a path that no route has: it must not become a label, or anybody could make labels
# Asked every few seconds, by machines: neither traced nor written down.
PROBES = ("/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")


class Observed:
    "Times each request under its route. Plain ASGI: nothing is copied."

    def __init__(self, app: ASGIApp, requests: Histogram, headers: list[tuple[bytes, bytes]], closing: threading.Event):
        self._app, self._requests, self._headers, self._closing = app, requests, headers, closing
        self._written = logs.for_machines()  # people have no use for a line a request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        "Pass a request on."
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, status, location = time.perf_counter(), 500, b""
        told = scope["path"] not in PROBES and (self._written or tracing.on())

        async def sent(message: Message) -> None:
            nonlocal status, location
            if message["type"] == "http.response.start":
                status = message["status"]
                if told and status == 201:
                    location = dict(message.get("headers", ())).get(b"location", b"")
                message["headers"] = [*message.get("headers", ()), *self._headers]
                if self._closing.is_set():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            if not told:
                return await self._app(scope, receive, sent)
            with tracing.span(scope["method"], _parent(scope), kind="server") as span:
                try:
                    await self._app(scope, receive, sent)
                finally:
                    self._tell(span, _facts(scope, status, location), time.perf_counter() - began)
        finally:
            self._requests.labels(scope["method"], _route(scope), status).observe(time.perf_counter() - began)

    def _tell(self, span: Any, facts: dict[str, Any], seconds: float) -> None:
        "Names of OpenTelemetry's conventions, https://opentelemetry.io/docs/specs/semconv/http/http-spans/"
        span.update_name(f"{facts['method']} {facts['route']}")
        for name, key in (("http.request.method", "method"), ("http.route", "route"), ("geocrop.job", "job")):
            if key in facts:
                span.set_attribute(name, facts[key])
        span.set_attribute("http.response.status_code", facts["status"])
        if self._written:
            log.info("request", extra={"facts": facts | {"seconds": round(seconds, 6)}})


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", NOWHERE)


def _parent(scope: Scope) -> str | None:
    "The trace that a caller has begun."
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)


def _facts(scope: Scope, status: int, location: bytes) -> dict[str, Any]:
    route = _route(scope)
    facts: dict[str, Any] = {"method": scope["method"], "route": route, "status": status}
    of_job = route.startswith("/jobs/{id}")
    job = scope["path_params"]["id"][:64] if of_job else location.decode("latin-1").removeprefix("/jobs/")
    return facts | ({"job": job} if job else {})
