"""What Prometheus is told: requests by route, and what the database knows of jobs, workers and maps.

Workers come and go: they count in the database (serving.jobs.tallies), and whichever process of the API is asked tells
the same. A dashboard therefore takes the maximum over processes, never the sum.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)  # fmt: skip
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine

from geocrop.schema import GeocropError
from serving.jobs import jobs, tallies, workers
from serving.jobs.errors import DatabaseUnavailable
from serving.jobs.models import Model

from .remembered import Remembered

FRESH_S = 10.0  # how long a champion is told without looking
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
Tallied = Mapping[str, Mapping[str, float]]


class Metrics:
    "Metrics of one application."

    def __init__(
        self,
        engine: Engine,
        champion: Callable[[], Model],
        *,
        classes: Sequence[str] = (),  # Of the project's legend: counted from 0 on
        lease_s: float,  # After which a worker that is silent counts no more
        drift: Collector | None = None,  # What `geocrop drift` has found
    ):
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.registry.register(_Shared(engine, champion, classes, lease_s))
        if drift:
            self.registry.register(drift)
        self.requests = Histogram(
            "geocrop_request_seconds", "Time until an answer was complete", ["method", "route", "status"],
            buckets=BUCKETS_S, registry=self.registry,
        )  # fmt: skip
        self.reconciled = Gauge(
            "geocrop_reconciled_timestamp_seconds", "When this process last looked for jobs that were left lying",
            registry=self.registry,
        )  # fmt: skip
        self.reconciler_errors = Counter(
            "geocrop_reconciler_errors_total", "Looks of this process that came to nothing", registry=self.registry
        )


class _Shared(Collector):
    "What all processes know, asked when Prometheus asks."

    def __init__(self, engine: Engine, champion: Callable[[], Model], classes: Sequence[str], lease_s: float):
        self._engine, self._classes, self._lease_s = engine, classes, lease_s
        self._champion = Remembered(lambda: _known(champion), None, FRESH_S)

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("geocrop_database_up", "Whether the database answers")
        families = list(_standing())
        try:
            self._fill(families)
            counted: Tallied = tallies.read(self._engine)
            up.add_metric([], 1)
        except DatabaseUnavailable:
            families, counted = list(_standing()), {}
            up.add_metric([], 0)
        yield from (up, *families, *_ended(counted), *_mapped(counted, self._classes), self._model())

    def _fill(self, families: Sequence[GaugeMetricFamily]) -> None:
        by_status, queue_age, running_age, alive = families
        for status, count in jobs.counts(self._engine).items():
            by_status.add_metric([status], count)
        waits, runs = jobs.ages_s(self._engine)
        queue_age.add_metric([], waits)
        running_age.add_metric([], runs)
        alive.add_metric([], len(workers.alive(self._engine, self._lease_s)))

    def _model(self) -> Metric:
        info = GaugeMetricFamily(
            "geocrop_model_info", "The champion: what new jobs are made with", labels=["model", "version", "sha256"]
        )
        if now := self._champion():
            info.add_metric([now.name, now.version, now.sha256[:12]], 1)
        return info

    def describe(self) -> Iterator[Metric]:
        "Nothing is asked when the collector is registered."
        return iter(())


def _known(champion: Callable[[], Model]) -> Model | None:
    "None where there is none, or a store that is away."
    try:
        return champion()
    except GeocropError:
        return None


def _standing() -> Iterator[GaugeMetricFamily]:
    "How it is now."
    yield GaugeMetricFamily("geocrop_jobs", "Jobs by status", labels=["status"])
    yield GaugeMetricFamily("geocrop_queue_age_seconds", "How long the oldest waiting job has waited")
    yield GaugeMetricFamily("geocrop_running_age_seconds", "How long the oldest running job has been at it")
    yield GaugeMetricFamily("geocrop_workers", "Workers that have been heard of lately")


def _ended(counted: Tallied) -> Iterator[Metric]:
    "What became of attempts."
    ends = CounterMetricFamily(
        "geocrop_attempts_total", "Attempts at jobs that came to an end; a lost lease is an AttemptLost",
        labels=["outcome", "error"],
    )  # fmt: skip
    for outcome, error in EXPECTED:  # from 0 on: an increase from nothing would be none
        ends.add_metric([outcome, error], counted.get("attempts", {}).get(f"{outcome} {error}".rstrip(), 0))
    for label, count in counted.get("attempts", {}).items():
        outcome, _, error = label.partition(" ")
        if (outcome, error) not in EXPECTED:
            ends.add_metric([outcome, error], count)
    yield ends
    yield _histogram(HistogramMetricFamily("geocrop_job_wait_seconds", "From asking to beginning"), counted, "wait_s")
    yield _histogram(HistogramMetricFamily("geocrop_job_run_seconds", "From beginning to a map"), counted, "run_s")


EXPECTED = (
    ("published", ""), ("refused", ""), ("released", ""), ("retried", "AttemptLost"), ("failed", "AttemptLost"),
    ("retried", "PublishError"), ("failed", "PublishError"),
)  # fmt: skip


def _histogram(family: HistogramMetricFamily, counted: Tallied, name: str) -> Metric:
    found = counted.get(name, {})
    bounds = [f"{bound:g}" for bound in tallies.BUCKETS_S]
    below = accumulate(found.get(bound, 0) for bound in bounds)
    buckets = [("+Inf" if bound == "inf" else bound, count) for bound, count in zip(bounds, below, strict=True)]
    family.add_metric([], buckets, found.get("sum", 0))
    return family


def _mapped(counted: Tallied, classes: Sequence[str]) -> Iterator[Metric]:
    "What finished maps show. Shares are quotients of increases, over whatever time one likes."
    by_class = CounterMetricFamily("geocrop_mapped_hectares_total", "Land with a class", labels=["class"])
    for name, ha in ({name: 0.0 for name in classes} | dict(counted.get("hectares", {}))).items():
        by_class.add_metric([name], ha)
    yield by_class

    def total(family: CounterMetricFamily, name: str) -> Metric:
        family.add_metric([], counted.get(name, {}).get("", 0))
        return family

    yield total(
        CounterMetricFamily("geocrop_confident_hectares_total", "Land with a class, times its confidence (0-1)"),
        "hectares_confident",
    )
    yield total(
        CounterMetricFamily("geocrop_judged_hectares_total", "Land of which it is known whether the model applies"),
        "hectares_judged",
    )
    yield total(
        CounterMetricFamily("geocrop_unlike_hectares_total", "Land outside the model's area of applicability"),
        "hectares_unlike",
    )
    yield total(
        CounterMetricFamily("geocrop_unseen_hectares_total", "Land without a class: too few clear days"),
        "hectares_unseen",
    )
    yield total(CounterMetricFamily("geocrop_mapped_pixels_total", "Pixels of the grids of finished maps"), "pixels")
