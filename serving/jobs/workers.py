"Which workers there are: those that have been heard of lately, busy or not."

import sqlalchemy as sa

from . import database
from .database import clock
from .tables import workers

FORGOTTEN_S = 86_400  # a worker that has been silent for so long is no longer kept


def seen(
    engine: sa.Engine,
    worker: str,  # Name that no other process has or had
) -> None:
    "Say that a worker lives."
    again = sa.update(workers).where(workers.c.name == worker).values(seen=clock())

    def work(conn: sa.Connection) -> None:
        if conn.execute(again).rowcount == 0:
            conn.execute(sa.insert(workers).values(name=worker, since=clock(), seen=clock()))
            conn.execute(sa.delete(workers).where(workers.c.seen < clock() - FORGOTTEN_S))

    database.write(engine, work)


def gone(
    engine: sa.Engine,
    worker: str,
) -> None:
    "Say that a worker ends."
    query = sa.delete(workers).where(workers.c.name == worker)
    database.write(engine, lambda conn: conn.execute(query))


def alive(
    engine: sa.Engine,
    within_s: float,  # Since a worker was heard of
) -> list[str]:  # Names
    "Workers that live, as far as is known."
    query = sa.select(workers.c.name).where(workers.c.seen > clock() - within_s).order_by(workers.c.name)
    return list(database.read(engine, lambda conn: conn.scalars(query).all()))
