"What Prometheus is told of the side that answers at once: how long it takes, and what the model says."

from collections import Counter as Counts
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from serving.jobs.models import Model

BUCKETS_S = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
BUCKETS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
MOST_OBSERVED = 1000  # rows of a request whose confidence is told, evenly spread: more would tell no more
NONE = "(none)"  # rows without any feature


class Metrics:
    "Metrics of one process."

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Histogram(
            "geocrop_answer_seconds", "Time until an answer was complete, of the worker's side",
            ["method", "route", "status"], buckets=BUCKETS_S, registry=self.registry,
        )  # fmt: skip
        self._model = Gauge(
            "geocrop_answers_model_info", "The champion that answers", ["model", "version", "sha256"],
            registry=self.registry,
        )  # fmt: skip
        self._rows = Counter(
            "geocrop_inferred_rows_total", "Rows of features, by the class that was answered", ["class"],
            registry=self.registry,
        )  # fmt: skip
        self._confidence = Histogram(
            "geocrop_inferred_confidence", "Probability of the class of rows, 0-1; of a large request some",
            buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip

    def follows(self, model: Model) -> None:
        "Another champion answers."
        self._model.clear()
        self._model.labels(model.name, model.version, model.sha256[:12]).set(1)

    def inferred(
        self,
        classes: Sequence[int],  # Of each row; what has no name: none
        confidence: Sequence[float],  # Greatest probability of each row that has one
        names: Mapping[int, str],
    ) -> None:
        "Rows have been answered."
        for klass, rows in Counts(classes).items():
            self._rows.labels(names.get(klass, NONE)).inc(rows)
        for value in confidence[:: max(1, len(confidence) // MOST_OBSERVED)]:
            self._confidence.observe(value)

    def text(self) -> bytes:
        "As Prometheus reads it."
        return generate_latest(self.registry)
