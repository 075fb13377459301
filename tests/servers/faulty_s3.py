"""A way to an S3 server on which things go wrong: requests are refused, late, forgotten, cut, or altered.

Requests pass as they are, with the `Host` that the client has signed.
"""

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from loopback import answering

ALWAYS = 1_000_000
PASSED_ON = ("Content-Length", "Connection", "Transfer-Encoding")  # headers that concern one connection only
BUSY = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'


@dataclass
class Way:
    """What goes wrong with requests for objects below `results/`.

    refuse: objects are not taken (503). slow: everything takes `delay_s` longer. forget: objects are taken, and lost.
    half: of what is taken only the first half is kept. cut: answers end in the middle. flip: a byte of an answer is
    another one.
    """

    url: str
    fault: str = ""  # Nothing goes wrong where it is empty
    times: int = ALWAYS  # How many requests it happens to
    delay_s: float = 0.3
    struck: int = 0  # Requests that it has happened to
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, fault: str, times: int = ALWAYS) -> None:
        "From now on."
        with self._lock:
            self.fault, self.times, self.struck = fault, times, 0

    def strikes(self, method: str, path: str) -> str:
        "The fault that this request meets, if any."
        methods = {"refuse": ("PUT", "POST"), "forget": ("PUT",), "half": ("PUT",), "cut": ("GET",), "flip": ("GET",)}
        with self._lock:
            if "/results/" not in path or method not in methods.get(self.fault, (method,)) or self.times <= 0:
                return ""
            self.times -= bool(self.fault)
            self.struck += bool(self.fault)
            return self.fault


@contextlib.contextmanager
def way(
    target: str,  # Address of the server behind it
) -> Iterator[Way]:
    "Stand between clients and a server, until the end of the `with`."
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.target = urlsplit(target).netloc
    with answering(server) as url:
        server.way = Way(url)
        yield server.way


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        way = self.server.way
        fault = way.strikes(self.command, self.path)
        if fault == "slow":
            time.sleep(way.delay_s)
        if fault == "refuse":
            return self._answer(503, [("Content-Type", "application/xml"), ("Retry-After", "1")], BUSY)
        if fault == "forget":
            return self._answer(200, [("ETag", '"00000000000000000000000000000000"')], b"")
        if fault == "half":
            body = body[: len(body) // 2]
        status, headers, content = self._forward(body)
        if fault == "flip" and content:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        self._answer(status, headers, content, cut=fault == "cut")

    do_GET = do_HEAD = do_POST = do_DELETE = do_PUT

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        with contextlib.closing(connection):
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.title() not in PASSED_ON:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
        length = [("Content-Length", answer.headers["Content-Length"])] if self.command == "HEAD" else []
        return answer.status, [h for h in answer.getheaders() if h[0].title() not in PASSED_ON] + length, content

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, cut: bool = False) -> None:
        with contextlib.suppress(ConnectionError):  # the client may have been killed
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection |= cut

    def log_message(self, *_: Any) -> None:
        "Tests print nothing."
