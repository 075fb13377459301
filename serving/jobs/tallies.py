"""What has become of jobs, counted in the transaction in which it became so: nothing twice, nothing lost.

Workers come and go, and nobody could ask each of them before it is gone; the API reads here when Prometheus asks it.
Counts only grow. Names and labels are ours: no user can make new ones.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from . import database
from .tables import tallies

BUCKETS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, float("inf"))  # of waiting and running
KINDS = frozenset(
    ("AttemptError", "AttemptLost", "CubeError", "ItemsError", "ModelError", "ProductError", "PublishError",
     "SchemaError", "SettingsError", "StoreError")
)  # of errors that are told apart # fmt: skip
Counts = Mapping[tuple[str, str], float]  # (name, label) -> how much more

# The same words in SQLite and PostgreSQL.
ADD = sa.text(
    "INSERT INTO tallies AS t (name, label, count) VALUES (:name, :label, :count) "
    "ON CONFLICT (name, label) DO UPDATE SET count = t.count + excluded.count"
)


def add(
    conn: sa.Connection,  # Of the transaction in which it happens
    counts: Counts,
) -> None:
    "Count. To be the last of a transaction: these few rows are everybody's."
    rows = [{"name": name, "label": label[:64], "count": count} for (name, label), count in sorted(counts.items())]
    if rows:  # in one order, so that no two transactions wait for each other
        conn.execute(ADD, rows)


def read(engine: sa.Engine) -> dict[str, dict[str, float]]:  # name -> label -> count
    "All of them."
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for name, label, count in database.read(engine, lambda conn: conn.execute(sa.select(tallies)).all()):
        found[name][label] = count
    return found


def attempts(
    outcome: str,  # published, refused, failed, retried, released
    count: int = 1,
    error: Mapping[str, Any] | None = None,  # errors.described; None: none
) -> Counts:
    "Attempts that came to an end."
    kind = (error or {}).get("kind", "")
    known = kind if kind in KINDS or not kind else "other"
    return {("attempts", f"{outcome} {known}".rstrip()): count} if count else {}


def published(
    waited_s: float,
    ran_s: float,
    result: Mapping[str, Any],  # What is published: `summary` of geocrop.mapping.Product.page, `measured`
) -> Counts:
    "A map that was made."
    counts = defaultdict[tuple[str, str], float](float, attempts("published"))
    for name, seconds in (("wait_s", max(waited_s, 0.0)), ("run_s", max(ran_s, 0.0))):
        counts[name, f"{BUCKETS_S[bisect_left(BUCKETS_S, seconds)]:g}"] += 1
        counts[name, "sum"] += seconds
    counts["pixels", ""] += (result.get("measured") or {}).get("pixels") or 0
    page = result.get("summary") or {}
    hectares: Mapping[str, float] = page.get("hectares_counted") or {}
    for name, ha in hectares.items():
        counts["hectares", name] += ha
    mapped = sum(hectares.values())
    counts["hectares_unseen", ""] += page.get("hectares_without_class") or 0
    if (like := page.get("hectares_like_training")) is not None:
        counts["hectares_judged", ""] += mapped
        counts["hectares_unlike", ""] += max(mapped - like, 0.0)
    if (confidence := page.get("mean_confidence_pct")) is not None:
        counts["hectares_confident", ""] += mapped * confidence / 100
    return {key: count for key, count in counts.items() if count}
