"What Prometheus is told: requests by route, and the jobs as the database has them."

import threading
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.jobs import jobs
from serving.jobs.errors import DatabaseUnavailable

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
NOWHERE = "(none)"  # a path that no route has: it must not become a label, or anybody could make labels


class Metrics:
    "Metrics of one application."

    def __init__(self, engine: Engine):
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.registry.register(_Jobs(engine))
        self.requests = Histogram(
            "geocrop_request_seconds", "Time until an answer was complete", ["method", "route", "status"],
            buckets=BUCKETS_S, registry=self.registry,
        )  # fmt: skip


class _Jobs(Collector):
    "Asked when Prometheus asks."

    def __init__(self, engine: Engine):
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("geocrop_database_up", "Whether the database answers")
        by_status = GaugeMetricFamily("geocrop_jobs", "Jobs by status", labels=["status"])
        age = GaugeMetricFamily("geocrop_queue_age_seconds", "How long the oldest waiting job has waited")
        try:
            for status, count in jobs.counts(self._engine).items():
                by_status.add_metric([status], count)
            age.add_metric([], jobs.waited_s(self._engine))
            up.add_metric([], 1)
        except DatabaseUnavailable:
            up.add_metric([], 0)
        yield from (up, by_status, age)

    def describe(self) -> Iterator[Metric]:
        "Nothing is asked when the collector is registered."
        return iter(())


class Observed:
    "Times each request under its route, and adds headers that every answer has. Plain ASGI: nothing is copied."

    def __init__(self, app: ASGIApp, metrics: Metrics, headers: list[tuple[bytes, bytes]], closing: threading.Event):
        self._app, self._requests, self._headers, self._closing = app, metrics.requests, headers, closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        "Pass a request on."
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, status = time.perf_counter(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers]
                if self._closing.is_set():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            route = getattr(scope.get("route"), "path", NOWHERE)
            self._requests.labels(scope["method"], route, status).observe(time.perf_counter() - began)
