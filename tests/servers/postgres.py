"""A real PostgreSQL on the loopback, in a folder of its own. Nothing outlives the `with`.

Needs the Debian packages postgresql-15 and postgresql-15-postgis-3.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg

DEBIAN = Path("/usr/lib/postgresql")
USER = "postgres"  # superuser of the database, and on Debian the account of the package


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
    patience_s: float = 60,  # Seconds to wait for the first answer
) -> Iterator[str]:  # Address of the empty database, as libpq takes it
    "A cluster that is fast and forgetful. PostgreSQL refuses to run as root: then it runs as Debian's account."
    tools = binaries()
    if tools is None:
        raise FileNotFoundError(f"PostgreSQL: found no initdb with PostGIS below {DEBIAN}")
    account: dict[str, Any] = {}
    if os.getuid() == 0:
        account = {"user": USER, "group": USER, "extra_groups": []}
        shutil.chown(folder, USER, USER)
    dsn, log = f"host=127.0.0.1 port={port} user={USER} dbname={USER}", folder / "postgres.log"
    with log.open("w") as out:
        command = [tools / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run([*command, "--no-sync"], check=True, stdout=out, stderr=out, cwd=folder, **account)
        options = {
            "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
            "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off",
        }  # fmt: skip
        words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        process = subprocess.Popen(
            [tools / "postgres", "-D", folder / "data", *words], stdout=out, stderr=out, cwd=folder, **account
        )
        try:
            with told_from(log):
                wait(lambda: psycopg.connect(dsn), patience_s)
            yield dsn
        finally:
            process.send_signal(signal.SIGINT)  # the server's fast shutdown: clients are sent away
            process.wait()


def wait(attempt: Callable[[], Any], patience_s: float) -> None:
    "Try until it succeeds."
    end = time.monotonic() + patience_s
    while True:
        try:
            attempt().close()
            return
        except (OSError, psycopg.OperationalError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@contextlib.contextmanager
def told_from(log: Path) -> Iterator[None]:
    "Add the end of a server's log to what is raised."
    try:
        yield
    except (OSError, psycopg.OperationalError) as error:
        error.add_note(log.read_text()[-2000:])
        raise
