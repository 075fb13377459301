"A collector of traces, OTLP over HTTP, that keeps what it is told: real protobuf, on the loopback."

import contextlib
import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loopback import answering
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Told:
    "A span that a process has told of."

    part: str  # service.name
    name: str
    trace: str  # 32 hexadecimal digits
    id: str
    parent: str  # Empty: none
    begin: int  # Nanoseconds
    end: int
    facts: dict[str, Any]


class Collector:
    "What has been told so far."

    def __init__(self) -> None:
        self._lock, self._spans = threading.Lock(), list[Told]()
        self.url = ""

    def take(self, body: bytes) -> None:
        "A message of an exporter."
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            for resource in request.resource_spans:
                part = _facts(resource.resource.attributes)["service.name"]
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                    times = span.start_time_unix_nano, span.end_time_unix_nano
                    self._spans.append(Told(part, span.name, *ids, *times, _facts(span.attributes)))

    def spans(self, trace: str | None = None) -> list[Told]:
        "Spans of a trace, or all, by their beginning."
        with self._lock:
            found = [span for span in self._spans if trace in (None, span.trace)]
        return sorted(found, key=lambda span: span.begin)


def _facts(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in attributes}


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    "One that listens."
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            known = self.path == "/v1/traces"
            if known:
                found.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        found.url = url
        yield found
