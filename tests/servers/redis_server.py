"A real Redis on the loopback, which keeps nothing. It needs the Debian package redis-server."

import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from loopback import running


def binary() -> str | None:
    "The server's program; None where there is none."
    return shutil.which("redis-server")


@contextlib.contextmanager
def redis(
    folder: Path,  # For its log
    port: int,
    patience_s: float = 120,  # Seconds to wait for the first answer
) -> Iterator[str]:  # Address of its first database
    "A server that is gone at the end of the `with`."
    program = binary()
    if program is None:
        raise FileNotFoundError("Redis: found no redis-server")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    ask = lambda: socket.create_connection(("127.0.0.1", port), timeout=1)  # noqa: E731
    with running(command, folder / "redis.log", ask, patience_s, cwd=folder):
        yield f"redis://127.0.0.1:{port}/0"
