"""A real PostgreSQL on the loopback, in a folder of its own. Nothing outlives the `with`.

Needs the Debian packages postgresql-15 and postgresql-15-postgis-3.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from loopback import running

DEBIAN = Path("/usr/lib/postgresql")
USER = "postgres"  # superuser of the database, and on Debian the account of the package
LOG = "postgres.log"


def binaries() -> Path | None:
    "Folder of the newest PostgreSQL that has PostGIS; None where there is none."
    found = [
        path.parent
        for path in DEBIAN.glob("*/bin/initdb")
        if Path("/usr/share/postgresql", path.parts[-3], "extension/postgis.control").is_file()
    ]
    return max(found, key=lambda path: int(path.parent.name), default=None)


@contextlib.contextmanager
def postgres(
    folder: Path,  # Data and log; the server's account must be able to enter it
    port: int,
    patience_s: float = 120,  # Seconds to wait for the first answer
) -> Iterator[str]:  # Address of the empty database, as libpq takes it
    "A new cluster that is fast and forgetful."
    initialise(folder)
    with started(folder, port, patience_s) as dsn:
        yield dsn


def initialise(
    folder: Path,  # Empty; the server's account must be able to enter it
) -> None:
    "Make a cluster. PostgreSQL refuses to run as root: then it runs as Debian's account."
    if os.getuid() == 0:
        shutil.chown(folder, USER, USER)
    command = [_tools() / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C"]
    with (folder / LOG).open("w") as out:
        subprocess.run([*command, "--no-sync"], check=True, stdout=out, stderr=out, cwd=folder, **_account())


@contextlib.contextmanager
def started(
    folder: Path,  # Where initialise was
    port: int,
    patience_s: float = 120,  # Seconds to wait for the first answer
) -> Iterator[str]:  # Address of its first database, as libpq takes it
    "A cluster that runs. It can be started again: what it had is still there."
    dsn = f"host=127.0.0.1 port={port} user={USER} dbname={USER}"
    options = {
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
        "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off",
    }  # fmt: skip
    words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
    command = [_tools() / "postgres", "-D", folder / "data", *words]
    fast = signal.SIGINT  # the server's fast shutdown: clients are sent away
    ask = lambda: _connect(dsn)  # noqa: E731
    with running(command, folder / LOG, ask, patience_s, stop=fast, cwd=folder, **_account()):
        yield dsn


def _tools() -> Path:
    tools = binaries()
    if tools is None:
        raise FileNotFoundError(f"PostgreSQL: found no initdb with PostGIS below {DEBIAN}")
    return tools


def _account() -> dict[str, Any]:
    return {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}


def _connect(dsn: str) -> psycopg.Connection:
    try:
        return psycopg.connect(dsn)
    except psycopg.OperationalError as error:
        raise ConnectionError(str(error)) from error
