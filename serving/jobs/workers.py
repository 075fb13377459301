"Which workers there are: those that have been heard of lately, busy or not."

import sqlalchemy as sa


def seen(
    engine: sa.Engine,
    worker: str,  # Name that no other process has or had
) -> None:
    "Say that a worker lives."
    raise NotImplementedError


def gone(
    engine: sa.Engine,
    worker: str,
) -> None:
    "Say that a worker ends."
    raise NotImplementedError


def alive(
    engine: sa.Engine,
    within_s: float,  # Seconds since a worker was heard of
) -> list[str]:  # Names
    "Workers that live, as far as is known."
    raise NotImplementedError
