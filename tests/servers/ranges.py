"""An archive on the web: serves ranges of the files of a folder, and what can go wrong with them.

As a program, until its input ends:  python tests/servers/ranges.py FOLDER [FAULT [AMONG]]
"""

import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from loopback import answering

ALWAYS = 1_000_000


@dataclass
class Archive:
    "What is to go wrong with the answers, and what has been asked."

    url: str
    folder: Path
    fault: str = ""  # busy, missing, drop, cut, short, long, whole or silent; nothing goes wrong where it is empty
    among: str = ""  # Only where the path contains this
    first: int = 0  # Requests (of those) that are answered well before the first that is not
    times: int = ALWAYS  # How many answers it happens to
    delay_s: float = 0  # Before every answer
    etag: bool = True  # Whether answers name the version of the file, as those of real archives mostly do
    asked: list[tuple[str, str]] = field(default_factory=list)  # Path with its query, and range, of every request
    signed: int = 0  # Requests with a signature
    most: int = 0  # Most requests that were under way at once
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: threading.Event = field(default_factory=threading.Event)  # The end of the `with`

    def href(self, path: str | Path) -> str:
        "The address of a file below the folder."
        return f"{self.url}/{Path(path).relative_to(self.folder)}"

    @contextlib.contextmanager
    def request(self, path: str, wanted: str) -> Iterator[str]:
        "Count a request while it is under way; the fault that it meets."
        with self.lock:
            self.asked.append((path, wanted))
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            strikes = bool(self.fault) and self.among in path and self.first <= 0 < self.times
            if self.fault and self.among in path:
                self.first -= 1
                self.times -= strikes
        try:
            yield self.fault if strikes else ""
        finally:
            with self.lock:
                self.under_way -= 1


@contextlib.contextmanager
def serve(
    folder: Path,  # Its files, at the same paths
) -> Iterator[Archive]:  # The server, which stops at the end of the `with`
    "Serve a folder on the loopback, keeping connections open as real archives do."
    server = _Server(("127.0.0.1", 0), _Handler)
    with answering(server) as url:
        server.archive = Archive(url, folder)
        try:
            yield server.archive
        finally:
            server.archive.closed.set()


@contextlib.contextmanager
def serve_apart(
    folder: Path,
    fault: str = "",
    among: str = "",
) -> Iterator[Archive]:  # Where it answers; what it is asked is not known here
    "Serve a folder from a process of its own: GDAL may keep Python's lock while it waits for an answer."
    command = [sys.executable, __file__, str(folder), fault, among]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        try:
            yield Archive(process.stdout.readline().strip(), folder, fault, among)
        finally:
            process.stdin.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a connection that a client keeps open is no reason to wait
    request_queue_size = 128
    archive: Archive


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        archive, path = self.server.archive, unquote(urlsplit(self.path).path).lstrip("/")
        wanted = self.headers.get("Range", "")
        archive.signed += "Authorization" in self.headers
        with archive.request(self.path.lstrip("/"), wanted) as fault:
            if archive.delay_s:
                archive.closed.wait(archive.delay_s)
            if fault == "silent":
                archive.closed.wait()
            if fault in ("silent", "drop"):
                self.close_connection = True
                return
            if fault == "busy":
                return self._answer(503, b"Please reduce your request rate.")
            file = archive.folder / path
            if fault == "missing" or not file.is_file():
                return self._answer(404, b"No such file.")
            content = file.read_bytes()
            if fault == "whole" or not wanted:
                return self._answer(200, content)
            begin, end = (int(number) for number in re.fullmatch(r"bytes=(\d+)-(\d+)", wanted).groups())
            if begin >= len(content):
                return self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            end = min(end, len(content) - 1)
            if fault == "short":  # an answer that looks complete, of fewer bytes than were asked for
                end = begin + (end - begin) // 2
            if fault == "long":
                end = min(end + 10, len(content) - 1)
            part = content[begin : end + 1]
            place = {"Content-Range": f"bytes {begin}-{end}/{len(content)}"}
            if archive.etag:  # without it a client cannot go on where an answer broke off
                place["ETag"] = f'"{len(content)}"'
            if fault == "cut":  # a connection that ends too early
                self.close_connection = True
                return self._answer(206, part[: len(part) // 2], place, len(part))
            self._answer(206, part, place)

    do_HEAD = do_GET

    def _answer(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        with contextlib.suppress(ConnectionError):  # the client may have lost its patience
            self.send_response(status)
            self.send_header("Content-Length", str(len(content) if length is None else length))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        "Tests print nothing."


if __name__ == "__main__":
    with serve(Path(sys.argv[1])) as server:
        server.fault, server.among = [*sys.argv[2:], "", ""][:2]
        print(server.url, flush=True)
        sys.stdin.read()
