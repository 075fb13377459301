"""Traces from a request to the windows of its map, told to a collector (OTLP/HTTP) where settings.ini names one.

Where it names none, no tracer and no exporter is imported and a span costs a function call. A trace crosses processes
as a W3C `traceparent`: in a header, in a job's row, in a runner's task.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from geocrop import settings

log = logging.getLogger(__name__)
PATIENCE_S = 3.0  # with the collector, in the background: nobody waits for it but a process that ends
DELAY_MS = 1000  # at most, until a span that has ended is told
_tracer: Any = None
_provider: Any = None


class Nothing:
    "A span where there are no traces."

    def set_attribute(self, _name: str, _value: Any) -> None:
        "Forget it."

    def update_name(self, _name: str) -> None:
        "Forget it."


NOTHING = Nothing()


def begin(part: str) -> None:
    "Trace from now on what this process does as a part of the service (api, worker...), if anybody wants to know."
    global _tracer, _provider
    where = settings.settings("telemetry").traces
    if not where:
        return
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    session = requests.Session()
    session.trust_env = False  # a proxy of the machine is for other errands
    exporter = OTLPSpanExporter(f"{where.rstrip('/')}/v1/traces", timeout=PATIENCE_S, session=session)
    _provider = TracerProvider(resource=Resource.create({"service.name": f"geocrop-{part}"}))
    _provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=DELAY_MS))
    _tracer = _provider.get_tracer("geocrop")
    log.info("traces go to %s", where)


def end() -> None:
    "Tell what has not been told yet, and trace no more."
    global _tracer, _provider
    if _provider is not None:
        _provider.shutdown()
    _tracer = _provider = None


def on() -> bool:
    "Whether anybody wants to know."
    return _tracer is not None


@contextmanager
def span(
    name: str,
    parent: str | None = None,  # A traceparent from outside; None: whatever this thread is about
    *,
    kind: str = "internal",  # internal, server, client, producer or consumer
    facts: Mapping[str, Any] | None = None,  # Attributes
) -> Iterator[Any]:
    "Something that takes its time. An exception that leaves it is noted, and goes on."
    if _tracer is None:
        yield NOTHING
        return
    from opentelemetry.trace import SpanKind

    context, kinds = _context(parent), SpanKind[kind.upper()]
    with _tracer.start_as_current_span(name, context=context, kind=kinds, attributes=facts) as begun:
        yield begun


def _context(parent: str | None) -> Any:
    if parent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent})


class Laps:
    "Spans one after the other, each from the end of the one before, under whatever this thread is about."

    def __init__(self, name: str):
        self._name, self._since = name, time.time_ns()

    def lap(self, facts: Mapping[str, Any] | None = None) -> None:
        "One is over, the next begins."
        now = time.time_ns()
        if _tracer is not None:
            _tracer.start_span(self._name, start_time=self._since, attributes=facts).end(now)
        self._since = now


def traceparent() -> str | None:  # None: there is no trace
    "The span that this thread is in, as another process is told of it."
    found = ids()
    return f"00-{found['trace']}-{found['span']}-01" if found else None


def ids() -> dict[str, str]:  # trace and span, hexadecimal; empty: none
    "The span that this thread is in, where it is traced."
    if _tracer is None:
        return {}
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return {}
    return {"trace": f"{context.trace_id:032x}", "span": f"{context.span_id:016x}"}
