"""A connection to SQLite or PostgreSQL that behaves the same: whole transactions, the database's own clock.

Whoever changes something says so with `write`: SQLite then takes its one writer's place at the beginning, and waits
for it, instead of finding out half-way that somebody else has it.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from .errors import DatabaseUnavailable

Result = TypeVar("Result")
PATIENCE_S = 30  # SQLite: how long a writer waits for its turn; PostgreSQL: how long a statement may take
CONNECT_S = 3  # PostgreSQL: how long a connection may take
UPGRADE_LOCK = 0x67656F63726F70  # "geocrop": PostgreSQL lets one process at a time hold it


def _dumps(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # half a surrogate, of a file's name that is no text: no database should hold it
        return json.dumps(value, ensure_ascii=False).encode(errors="replace").decode()


ENGINE: dict[str, Any] = {
    "pool_size": 20, "max_overflow": 20,  # kept once made; more while there is a rush, for each thread of the API
    "json_serializer": _dumps, "json_deserializer": orjson.loads,
}  # fmt: skip


def connect(
    url: str,  # sqlite:///FILE, or postgresql://USER:PASSWORD@HOST:PORT/NAME
) -> sa.Engine:
    "A database that nothing has been asked yet; a SQLite file's folder is made."
    place = sa.make_url(url)
    if place.get_backend_name() == "sqlite":
        Path(place.database or "").parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(place, connect_args={"timeout": PATIENCE_S}, **ENGINE)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    return sa.create_engine(
        place.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": CONNECT_S, "options": f"-c statement_timeout={PATIENCE_S}s"},
        **ENGINE,
    )


ALONE = {"isolation_level": "AUTOCOMMIT"}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins no transaction on its own: _begin_sqlite does
    connection.execute("PRAGMA foreign_keys = ON")
    end = time.monotonic() + PATIENCE_S
    while True:  # a new file is switched by one connection that has it alone; SQLite does not wait for that by itself
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def read(
    engine: sa.Engine,
    work: Callable[[sa.Connection], Result],  # Changes nothing
) -> Result:
    "What is found. DatabaseUnavailable where there is no answer."
    # PostgreSQL needs no transaction to read, in which each statement would see its own state all the same.
    return _run(engine, work, {} if engine.dialect.name == "sqlite" else ALONE)


def write(
    engine: sa.Engine,
    work: Callable[[sa.Connection], Result],  # Run once more where the connection breaks, perhaps after its commit
    alone: bool = False,  # Whether it is one statement, which PostgreSQL commits by itself: one way there and back
) -> Result:
    "What a transaction that changes something gives, committed. DatabaseUnavailable where there is no answer."
    return _run(engine, work, ALONE if alone and engine.dialect.name != "sqlite" else {"writes": True})


def _run(engine: sa.Engine, work: Callable[[sa.Connection], Result], options: dict[str, Any]) -> Result:
    """A server that restarts breaks all connections; what is asked again has a new one.

    This makes good for what a ping before each use would find, and for what breaks after it, at no cost.
    """
    for last in (False, True):
        try:
            with engine.connect().execution_options(**options) as connection, connection.begin():
                return work(connection)
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
            if getattr(error, "connection_invalidated", False) and not last:
                continue
            raise DatabaseUnavailable(
                f"Database {engine.url.render_as_string()}",  # without its password
                found=" ".join(str(getattr(error, "orig", error)).split()),
                expected="an answer",
                remedy="Ask again in a while; see that the server runs.",
            ) from error
    raise AssertionError  # the second turn returns or raises


class clock(FunctionElement[float]):  # lower case, as SQL's functions
    "Seconds since 1970, UTC, by the database's clock when the statement began. Leases know no other."

    type = sa.Double()
    inherit_cache = True


@compiles(clock, "postgresql")
def _(_element: clock, _compiler: Any, **_: Any) -> str:
    return "extract(epoch FROM statement_timestamp())::double precision"


@compiles(clock, "sqlite")
def _(_element: clock, _compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


def now(connection: sa.Connection) -> float:
    "The database's clock: seconds since 1970, UTC."
    return connection.scalar(sa.select(clock())) or 0.0


def upgrade(
    engine: sa.Engine,
) -> None:
    "Bring the tables up to what this version of the service needs. Several processes may do so at once."
    from alembic import command  # a tenth of a second, of which most processes have no need

    def work(connection: sa.Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(UPGRADE_LOCK)))
        command.upgrade(alembic_config(connection), "head")

    write(engine, work)


def alembic_config(connection: sa.Connection) -> Any:
    "What Alembic's commands need to know: the migrations of this package, and the connection they run on."
    from alembic.config import Config

    config = Config(stdout=sys.stdout)  # Alembic's default is the stream of the moment when it was imported
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    return config
