"""Drift, as `geocrop drift` left it below drift/ of the store of results: `.prom`, texts for Prometheus, told on here.

A run of `geocrop drift` is over before Prometheus could ask it. Only metrics of its name are told on, and so many.
"""

import logging
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import obstore
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from geocrop.schema import StoreError
from serving.jobs.objects import failing, get_bytes

from .remembered import Remembered

log = logging.getLogger(__name__)
FOLDER, SUFFIX, OURS = "drift", ".prom", "geocrop_drift_"
MOST, MOST_BYTES, MOST_SAMPLES = 32, 256 * 1024, 4000  # documents, the newest; size of one; samples of a metric
MOST_LISTED = 1000  # objects
FRESH_S = 30.0


class Drift(Collector):
    "Asked when Prometheus asks."

    def __init__(
        self,
        store: Any,  # Of geocrop.store.bucket
    ):
        self._told = Remembered(lambda: _told(_texts(store)), _told([]), FRESH_S)

    def collect(self) -> Iterator[Metric]:
        "What documents said when they were read last."
        yield from self._told()

    def describe(self) -> Iterator[Metric]:
        "Nothing is asked when the collector is registered."
        return iter(())


def _told(texts: list[str]) -> list[Metric]:
    "Each metric once, with the samples of all documents, the newest first."
    psi = GaugeMetricFamily("geocrop_drift_psi", "Population stability index of a feature, against training")
    alarm = GaugeMetricFamily("geocrop_drift_alarm", "1 where a season has drifted from what the model learnt from")
    told: dict[str, Metric] = {family.name: family for family in (psi, alarm)}
    for text in texts:
        for family in _families(text):
            samples = told.setdefault(family.name, Metric(family.name, family.documentation, "gauge")).samples
            samples.extend(family.samples)
    for metric in told.values():
        newest = {_identity(sample): sample for sample in reversed(metric.samples)}
        metric.samples = list(newest.values())[-MOST_SAMPLES:]
    return list(told.values())


def _identity(sample: Any) -> tuple[str, frozenset[tuple[str, str]]]:
    "What may be told once: of two documents about the same the newer one counts."
    return sample.name, frozenset(sample.labels.items())


def _texts(store: Any) -> list[str]:
    "Documents, the newest first."
    try:
        with failing(f"Objects {FOLDER}/"):
            found = islice(chain.from_iterable(obstore.list(store, FOLDER)), MOST_LISTED)
            wanted = [one for one in found if one["path"].endswith(SUFFIX) and one["size"] <= MOST_BYTES]
        wanted.sort(key=lambda one: (one["last_modified"], one["path"]), reverse=True)
        return [get_bytes(store, one["path"]).decode(errors="replace") for one in wanted[:MOST]]
    except StoreError as error:
        log.warning("drift is not told: %s", error)
        return []


def _families(text: str) -> Iterator[Metric]:
    try:
        families = [one for one in text_string_to_metric_families(text) if one.name.startswith(OURS)]
    except ValueError as error:
        log.warning("a document of drift is not told: %s", error)
        return
    for family in families:
        family.samples = list(islice((s._replace(timestamp=None) for s in family.samples), MOST_SAMPLES))
        yield family
