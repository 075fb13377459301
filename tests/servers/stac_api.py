"""A real STAC API on the loopback: stac-fastapi on pgSTAC, in a PostgreSQL with PostGIS of its own.

Needs the Debian packages postgresql-15 and postgresql-15-postgis-3. Nothing outlives the `with`.
As a program, until Ctrl-C, over a static catalogue:  python tests/servers/stac_api.py CATALOG.JSON
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pystac
from loopback import free_ports
from pypgstac.db import PgstacDB
from pypgstac.load import Loader, Methods
from pypgstac.migrate import Migrate

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


@dataclass(frozen=True)
class Server:
    "Where the API answers, and where its database is."

    url: str  # Of the landing page, without a slash at its end
    dsn: str

    def load(self, collections: Iterable[dict[str, Any]], items: Iterable[dict[str, Any]]) -> None:
        "Add collections and items; those that are there already are replaced."
        with PgstacDB(dsn=self.dsn) as database:
            loader = Loader(database)
            loader.load_collections(iter(collections), Methods.upsert)
            loader.load_items(iter(items), Methods.upsert)


@contextlib.contextmanager
def serve(
    patience_s: float = 60,  # Seconds to wait for the first answer of each of the two servers
) -> Iterator[Server]:  # Both servers, which stop at the end of the `with`
    "Start an empty archive and wait until it answers. Its counts are exact: `numberMatched` is always told."
    with tempfile.TemporaryDirectory(prefix="geocrop-stac-") as name, contextlib.ExitStack() as stack:
        folder, (database, api) = Path(name), free_ports(2)
        stack.enter_context(_postgres(folder, database, patience_s))
        server = Server(f"http://127.0.0.1:{api}", f"host=127.0.0.1 port={database} user={USER} dbname={USER}")
        with PgstacDB(dsn=server.dsn) as db:
            Migrate(db).run_migration()
        with psycopg.connect(server.dsn) as connection:
            connection.execute("UPDATE pgstac.pgstac_settings SET value = 'on' WHERE name = 'context'")
        stack.enter_context(_fastapi(folder, database, api, patience_s))
        yield server


@contextlib.contextmanager
def _postgres(folder: Path, port: int, patience_s: float) -> Iterator[None]:
    "A cluster that is fast and forgetful. PostgreSQL refuses to run as root: then it runs as Debian's account."
    tools = binaries()
    if tools is None:
        raise FileNotFoundError(f"PostgreSQL: found no initdb with PostGIS below {DEBIAN}")
    account: dict[str, Any] = {}
    if os.getuid() == 0:
        account = {"user": USER, "group": USER, "extra_groups": []}
        shutil.chown(folder, USER, USER)
    log = folder / "postgres.log"
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
            with _told_from(log):
                _wait(lambda: psycopg.connect(f"host=127.0.0.1 port={port} user={USER} dbname={USER}"), patience_s)
            yield
        finally:
            process.send_signal(signal.SIGINT)  # the server's fast shutdown: clients are sent away
            process.wait()


@contextlib.contextmanager
def _fastapi(folder: Path, database: int, port: int, patience_s: float) -> Iterator[None]:
    log = folder / "api.log"
    place = {"PGHOST": "127.0.0.1", "PGPORT": str(database), "PGUSER": USER, "PGDATABASE": USER, "PGPASSWORD": "-"}
    command = [sys.executable, "-m", "uvicorn", "--factory", "stac_fastapi.pgstac.app:create_app"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=out, stderr=out, cwd=folder, env={**os.environ, **place},
        )  # fmt: skip
        try:
            straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with _told_from(log):
                _wait(lambda: straight.open(f"http://127.0.0.1:{port}/_mgmt/ping", timeout=5), patience_s)
            yield
        finally:
            process.terminate()
            process.wait()


def _wait(attempt: Any, patience_s: float) -> None:
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
def _told_from(log: Path) -> Iterator[None]:
    "Add the end of a server's log to what is raised."
    try:
        yield
    except (OSError, psycopg.OperationalError) as error:
        error.add_note(log.read_text()[-2000:])
        raise


def read(
    catalogue: Path,  # A static catalogue: its catalog.json
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:  # Its collections and items, addresses of files absolute
    "What a static catalogue holds, ready to be loaded."
    top = pystac.Catalog.from_file(str(catalogue.resolve()))
    items = []
    for item in top.get_items(recursive=True):
        item.make_asset_hrefs_absolute()
        items.append(item.to_dict(include_self_link=False))
    return [collection.to_dict(include_self_link=False) for collection in top.get_collections()], items


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # leave through the `with`, so that both servers stop
    with serve() as server, contextlib.suppress(KeyboardInterrupt):
        server.load(*read(Path(sys.argv[1])))
        print(f"export GEOCROP_CATALOGUE_HREF={server.url}", flush=True)
        signal.pause()
