"""A real STAC API on the loopback: stac-fastapi on pgSTAC, in a PostgreSQL with PostGIS of its own.

Needs the Debian packages postgresql-15 and postgresql-15-postgis-3. Nothing outlives the `with`.
As a program, until Ctrl-C, over a static catalogue:  python tests/servers/stac_api.py CATALOG.JSON
"""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pystac
from loopback import answer, free_ports, running
from postgres import USER, postgres
from pypgstac.db import PgstacDB
from pypgstac.load import Loader, Methods
from pypgstac.migrate import Migrate


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
    patience_s: float = 120,  # Seconds to wait for the first answer of each of the two servers
) -> Iterator[Server]:  # Both servers, which stop at the end of the `with`
    "Start an empty archive and wait until it answers. Its counts are exact: `numberMatched` is always told."
    with tempfile.TemporaryDirectory(prefix="geocrop-stac-") as name, contextlib.ExitStack() as stack:
        folder, (database, api) = Path(name), free_ports(2)
        server = Server(f"http://127.0.0.1:{api}", stack.enter_context(postgres(folder, database, patience_s)))
        with PgstacDB(dsn=server.dsn) as db:
            Migrate(db).run_migration()
        with psycopg.connect(server.dsn) as connection:
            connection.execute("UPDATE pgstac.pgstac_settings SET value = 'on' WHERE name = 'context'")
        place = {"PGHOST": "127.0.0.1", "PGPORT": str(database), "PGUSER": USER, "PGDATABASE": USER, "PGPASSWORD": "-"}
        command = [sys.executable, "-m", "uvicorn", "--factory", "stac_fastapi.pgstac.app:create_app"]
        command += ["--host", "127.0.0.1", "--port", str(api)]
        ping, env = f"{server.url}/_mgmt/ping", {**os.environ, **place}
        with running(command, folder / "api.log", lambda: answer(ping), patience_s, cwd=folder, env=env):
            yield server


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
