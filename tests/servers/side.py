"The side that answers at once, as far as the API meets it: a real server that says what it is told to."

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loopback import answering

QUOTE = {
    "hectares": 1256.6, "pixels": 125_664, "seconds": {"low": 8.0, "high": 20.0}, "expected_clear_days": 51,
    "scenes": 95, "gigabytes": 0.4,
}  # fmt: skip
CURVE = {"dates": ["2022-09-03", "2022-09-08"], "ndvi": [0.2, None], "clear": [True, False]}


@dataclass
class Side:
    "What it says, and what it was asked."

    url: str = ""
    status: int = 200
    answers: dict[str, Any] = field(default_factory=lambda: {"/quote": QUOTE, "/curve": CURVE})  # by path; others: {}
    media: str = "application/json"
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)  # Method, path, body
    was_asked: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)

    def content(self, path: str) -> bytes:
        "What it says to a path."
        return json.dumps(self.answers.get(path, {})).encode()


@contextlib.contextmanager
def serve() -> Iterator[Side]:
    "A server that answers as its side says, and at once unless `may_answer` is cleared."
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    side = server.side = Side()  # type: ignore[attr-defined]
    side.may_answer.set()
    with answering(server) as side.url:
        yield side
        side.may_answer.set()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        side: Side = self.server.side  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        side.asked.append((self.command, self.path, body))
        side.was_asked.set()
        side.may_answer.wait(30)
        content = side.content(self.path)
        with contextlib.suppress(ConnectionError):  # the client may have lost its patience
            self.send_response(side.status)
            self.send_header("Content-Type", side.media)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        "Tests print nothing."
