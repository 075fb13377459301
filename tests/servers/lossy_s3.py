"A way to an S3 server on which things go wrong: a proxy that forgets, alters, cuts, refuses or delays."

import contextlib
import http.client
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from loopback import answering

FAULTS = ("forget", "alter", "cut", "refuse", "delay")


@dataclass
class Proxy:
    "What is to go wrong with objects whose key contains a text, and how often."

    url: str
    fault: str = ""  # One of FAULTS; nothing goes wrong where it is empty
    key: str = ""  # Part of the keys that it happens to
    times: int = 1_000_000  # How many requests it happens to
    delay_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def strikes(self, method: str, path: str) -> str:
        "The fault that this request meets, if any."
        meant = {"forget": "PUT", "refuse": "PUT", "alter": "GET", "cut": "GET", "delay": method}.get(self.fault)
        with self.lock:
            if method != meant or self.key not in path or self.times <= 0:
                return ""
            self.times -= 1
            return self.fault


@contextlib.contextmanager
def proxy(
    target: str,  # Address of the S3 server
) -> Iterator[Proxy]:
    "Stand between clients and an S3 server, until the end of the `with`."
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.target = urlsplit(target).netloc
    with answering(server) as url:
        server.proxy = Proxy(url)
        yield server.proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        proxy, body = self.server.proxy, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = proxy.strikes(self.command, self.path)
        if fault == "delay":
            threading.Event().wait(proxy.delay_s)
        if fault == "refuse":
            return self._answer(503, {}, b"")
        if fault == "forget":  # says that it has it
            return self._answer(200, {"ETag": '"0123456789abcdef0123456789abcdef"'}, b"")
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body, dict(self.headers))  # with `Host`, which is signed
            found = connection.getresponse()
            status, headers, content = found.status, dict(found.getheaders()), found.read()
        if fault == "alter" and content:
            content = bytes([content[0] ^ 1]) + content[1:]
        if fault == "cut":
            content = content[: len(content) // 2]
            headers["Content-Range"] = f"bytes 0-{len(content) - 1}/{len(content)}"
        self._answer(status, headers, content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        length = headers.pop("Content-Length", None) if self.command == "HEAD" else None
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        "Tests print nothing."
