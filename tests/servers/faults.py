"""A way to a server on which things go wrong: a proxy that is silent, drops, refuses, cuts or alters answers."""

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from loopback import answering

ALWAYS = 1_000_000


@dataclass
class Proxy:
    "What is to go wrong with the answers to /search, and what has been asked."

    url: str
    fault: str = ""  # busy, broken, drop, silence, cut, half or portal; nothing goes wrong where it is empty
    page: int = 1  # First page that it happens to; a page counts once it has been delivered whole
    times: int = ALWAYS  # How many answers it happens to
    rewrite: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None  # Path and JSON of an answer -> new JSON
    asked: list[dict[str, Any]] = field(default_factory=list)  # Every search, as method and body
    delivered: int = 0  # Pages
    closed: threading.Event = field(default_factory=threading.Event)  # Nobody is listening any more

    def strikes(self, path: str) -> str:
        "The fault that this answer meets, if any."
        if not (self.fault and path == "/search" and self.delivered + 1 >= self.page and self.times > 0):
            return ""
        self.times -= 1
        return self.fault


@contextlib.contextmanager
def proxy(
    target: str,  # Address of the server behind it
) -> Iterator[Proxy]:
    "Stand between a client and a server, until the end of the `with`."
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.target = urlsplit(target).netloc
    with answering(server) as url:
        server.proxy = Proxy(url)
        try:
            yield server.proxy
        finally:
            server.proxy.closed.set()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy, path = self.server.proxy, urlsplit(self.path).path
        if path == "/search":
            proxy.asked.append({"method": self.command, "body": json.loads(body) if body else {}})
        fault = proxy.strikes(path)
        if fault == "silence":
            proxy.closed.wait()
        if fault in ("silence", "drop"):
            self.close_connection = True
            return
        if fault == "busy":
            return self._answer(503, b'{"detail": "too many questions"}', retry_after="7")
        if fault == "broken":
            return self._answer(500, b"<html>\n<h1>Internal Server Error</h1>\n</html>")
        if fault == "portal":
            return self._answer(200, b"<html>Please log in</html>")
        status, content = self._forward(body)
        if proxy.rewrite and status == 200:
            content = json.dumps(proxy.rewrite(path, json.loads(content))).encode()
        if fault == "half":  # a page that ends too early, and looks complete
            return self._answer(status, content[: len(content) // 2])
        if fault == "cut":  # a connection that ends too early
            self.close_connection = True
            return self._answer(status, content[: len(content) // 2], length=len(content))
        proxy.delivered += path == "/search" and status == 200
        self._answer(status, content)

    do_POST = do_GET

    def _forward(self, body: bytes) -> tuple[int, bytes]:
        "Ask the server; `Host` is passed on, so that its links lead here again."
        kept = {name: self.headers[name] for name in ("Host", "Content-Type", "Accept") if name in self.headers}
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body, kept)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _answer(self, status: int, content: bytes, length: int | None = None, retry_after: str = "") -> None:
        with contextlib.suppress(ConnectionError):  # the client may have lost its patience
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content) if length is None else length))
            if retry_after:
                self.send_header("Retry-After", retry_after)
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        "Tests print nothing."
