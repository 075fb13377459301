"""What the servers of the tests share: ports that are free, and servers that answer from a thread or a process."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any


def free_ports(number: int) -> list[int]:
    "Ports that nobody listens on now."
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def answering(server: ThreadingHTTPServer) -> Iterator[str]:
    "The server's address; it stops at the end of the `with`."
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,  # What it says is added here, and from here to what is raised
    ask: Callable[[], Any] | None,  # Opens something or raises OSError; None: nobody waits for an answer
    patience_s: float,  # Seconds to wait for the first answer
    *,
    stop: signal.Signals = signal.SIGTERM,
    **how: Any,  # As for Popen
) -> Iterator[None]:
    "A server that answers, in a process; it stops at the end of the `with`, and so do those that it started."
    with log.open("a") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, **how)
        try:
            if ask:
                _wait(ask, patience_s, log)
            yield
        finally:
            os.killpg(process.pid, stop)
            process.wait()


def _wait(ask: Callable[[], Any], patience_s: float, log: Path) -> None:
    end = time.monotonic() + patience_s
    while True:
        try:
            ask().close()
            return
        except OSError as error:
            if time.monotonic() > end:
                error.add_note(log.read_text()[-2000:])
                raise
            time.sleep(0.1)


def answer(url: str) -> Any:
    "What a server answers, past any proxy of this machine."
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5)
