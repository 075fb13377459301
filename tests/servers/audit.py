"""What has happened to jobs, written down by the database itself: independent of the code that is tested.

A trigger keeps every change of a job's status, and every change of a job that had come to its end.
"""

from collections import Counter
from dataclasses import dataclass

import sqlalchemy as sa

from serving.jobs import database

FINAL = "('successful', 'failed', 'dismissed')"
NOTED = f"old.status <> new.status OR old.status IN {FINAL}"
NOTE = "INSERT INTO audit VALUES (new.id, old.status, new.status)"
TABLE = "CREATE TABLE audit (job text, was text, now text)"
SQLITE = (TABLE, f"CREATE TRIGGER audit AFTER UPDATE ON jobs WHEN {NOTED} BEGIN {NOTE}; END")
POSTGRES = (
    TABLE,
    f"CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {NOTE}; RETURN NULL; END $$",
    f"CREATE TRIGGER audit AFTER UPDATE ON jobs FOR EACH ROW WHEN ({NOTED}) EXECUTE FUNCTION audit()",
)


@dataclass(frozen=True, slots=True)
class Life:
    "What a job went through."

    runs: int  # Times that it was picked up
    published: int
    failed: int
    after_the_end: int  # Changes of a job that had come to its end: there must be none


def begin(engine: sa.Engine) -> None:
    "From now on it is written down."
    with engine.begin() as conn:
        for statement in SQLITE if engine.dialect.name == "sqlite" else POSTGRES:
            conn.exec_driver_sql(statement)


def lives(engine: sa.Engine) -> dict[str, Life]:
    "By job; those that nobody has touched are not there."
    query = sa.text("SELECT job, was, now FROM audit")
    rows = database.read(engine, lambda conn: conn.execute(query).all())
    counts: dict[str, Counter[str]] = {}
    for job, was, now in rows:
        count = counts.setdefault(job, Counter())
        count[now] += 1
        count["late"] += was in FINAL
    return {job: Life(c["running"], c["successful"], c["failed"], c["late"]) for job, c in counts.items()}
