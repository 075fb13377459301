"""What the servers of the tests share: ports that are free, and servers that answer from a thread or a process."""

import contextlib
import os
import random
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

LOWEST_PORT, CLIENTS = 20_000, Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(number: int) -> list[int]:
    "Ports that nobody listens on, and that no client is given: a server that comes back finds its own free."
    highest = int(CLIENTS.read_text().split()[0]) if CLIENTS.exists() else 32_768
    found: list[int] = []
    while len(found) < number:
        port = random.SystemRandom().randrange(LOWEST_PORT, highest)  # another one in each process
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            found += [] if port in found else [port]
    return found


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
                _wait(ask, patience_s, log, process)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.killpg(process.pid, stop)
            process.wait()


def _wait(ask: Callable[[], Any], patience_s: float, log: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + patience_s
    while True:
        try:
            ask().close()
            return
        except OSError as error:
            if time.monotonic() > end or process.poll() is not None:
                error.add_note(log.read_text()[-2000:])
                raise
            time.sleep(0.1)


def answer(url: str) -> Any:
    "What a server answers, past any proxy of this machine."
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5)
