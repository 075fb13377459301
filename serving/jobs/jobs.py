"""A job from the question to its end. The row in the database is the truth; each step is one conditional UPDATE.

    submit             -> accepted
    claim              accepted -> running
    publish, fail      running -> successful, failed
    dismiss            accepted or running -> dismissed
    release            running -> accepted
    retry, reconcile   running -> accepted and counted in `lost`, or failed where `attempts` are used up

`attempt` goes up with each claim and never down. Whoever holds an older one is told so by False, and stops.
"""

import datetime as dt
import itertools
import math
import re
import statistics
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson
import shapely
import sqlalchemy as sa
from geoalchemy2.shape import from_shape

from geocrop import settings
from geocrop.schema import AOI, Area, SchemaError, Season, geometry
from serving import tracing

from . import database, places, tallies
from .database import clock
from .errors import AttemptLost, JobEnded, JobNotFound, KeyReused, QueueFull, QuotaExceeded, described
from .models import Model
from .tables import FINAL, STATUSES, jobs, users
from .users import COUNTED, User

ID = re.compile(r"[0-9a-f]{32}")
KEY = re.compile(r"[ -~]{1,128}")
MESSAGE_LENGTH = 1000  # characters of a job's message that are kept
AGAIN = "waits for another worker"
WAKES = 64  # jobs that one look at the queue gives to be woken: more workers than one machine has
PACE_S = 600  # how far back starts are counted, for the advice when to come again
LATEST = 20  # jobs whose duration says how long the next one may take


@dataclass(frozen=True, slots=True)
class Job:
    "A job as its row said. Times are seconds since 1970, UTC, by the database's clock."

    id: str  # 32 hexadecimal digits
    user_id: int
    inputs: dict[str, Any]  # As the user sent them
    area: dict[str, Any]  # GeoJSON Polygon or MultiPolygon, WGS 84
    west: float
    south: float
    east: float
    north: float
    season_first: dt.date
    season_last: dt.date
    year: int  # In which the season starts
    model: str
    model_version: str
    model_sha256: str
    status: str  # accepted, running, successful, failed or dismissed
    progress: int  # per cent
    message: str
    created: float
    started: float | None  # First attempt; None: never picked up
    finished: float | None  # None: not yet
    updated: float
    result: dict[str, Any] | None  # What the worker published, "files" among it; None: nothing (yet)
    error: dict[str, Any] | None  # errors.described, of a failed job
    attempt: int  # 0 before the first
    lost: int  # Attempts that came to nothing and count
    lease_owner: str | None  # Worker that has it, or that brought it to its end
    lease_until: float | None
    traceparent: str | None = None  # Of the request that it was asked with, where somebody traces

    @property
    def bundle(self) -> Model:
        "The model that it is made with, whatever the champion is by now."
        return Model(self.model, self.model_version, self.model_sha256)

    @property
    def season(self) -> Season:
        "The season that it maps."
        return Season(self.year, f"{self.season_first:%m-%d}", f"{self.season_last:%m-%d}")

    @property
    def ended(self) -> bool:
        "Whether it will never change again."
        return self.status in FINAL


@dataclass(frozen=True, slots=True)
class Reconciled:
    "What a look at the queue found: ids of jobs."

    wake: tuple[str, ...]  # That wait, and nobody has come for
    retried: tuple[str, ...]  # Whose worker was lost; accepted again
    failed: tuple[str, ...]  # Whose worker was lost once too often


# Statements that do not differ from job to job are made once: making one takes as long as asking it.
COLUMNS = tuple(jobs.c[field.name] for field in fields(Job))
ROWS = sa.select(*COLUMNS)
ROW = ROWS.where(jobs.c.id == sa.bindparam("wanted"))
WAITING = sa.select(sa.func.count()).where(jobs.c.status == "accepted").scalar_subquery()
SENT = (
    "id", "user_id", "idempotency_key", "inputs", "area", "west", "south", "east", "north",
    "season_first", "season_last", "year", "model", "model_version", "model_sha256", "traceparent",
)  # fmt: skip
BEGINNING: dict[str, Any] = {"status": "accepted", "progress": 0, "message": "", "attempt": 0, "lost": 0}
BORN = {name: clock() for name in ("created", "updated", "not_before")}
NEW = sa.insert(jobs).values(**BEGINNING, **BORN).returning(jobs.c.created)
OWNER = users.c.id == sa.bindparam("user_id")
KEYED = sa.and_(jobs.c.user_id == sa.bindparam("user_id"), jobs.c.idempotency_key == sa.bindparam("idempotency_key"))
EARLIER = sa.or_(KEYED, jobs.c.id == sa.bindparam("id"))  # or of a transaction that was committed and not heard of
STANDING = sa.select(
    sa.select(users.c.role).where(OWNER).scalar_subquery(), WAITING, COUNTED,
    sa.select(jobs.c.id).where(EARLIER).scalar_subquery(),
)  # fmt: skip
FREE = (  # The same, of an administrator, where there is room and the key is new; otherwise nothing
    sa.insert(jobs)
    .from_select(
        [*SENT, *BEGINNING, *BORN],
        sa.select(
            *(sa.bindparam(name, type_=jobs.c[name].type) for name in SENT),
            *map(sa.literal, BEGINNING.values()),
            *BORN.values(),
        )
        .select_from(users)
        .where(OWNER, users.c.role == "admin", sa.bindparam("room") > WAITING, ~sa.exists().where(KEYED)),
    )
    .returning(jobs.c.created)
)
TURN = sa.select(sa.func.pg_advisory_xact_lock(0x67656F7475726E))  # "geoturn"
AT_ONCE = 100  # submissions that may be under way at the same moment: as many connections as PostgreSQL has
LATELY = sa.select(sa.func.count()).where(jobs.c.started > clock() - PACE_S)
NEWEST = (jobs.c.created.desc(), jobs.c.id.desc())


# --- asking ----------------------------------------------------------------------------------------------------------


def submit(
    engine: sa.Engine,
    user: User,
    inputs: Mapping[str, Any],  # JSON, kept as it is; the same key must come with the same
    *,
    area: Area,
    season: Season,
    model: Model,
    limits: settings.Jobs,
    key: str | None = None,  # Idempotency key; None: a job of its own
) -> tuple[Job, bool]:  # The job, and whether it is new
    "Accept a job, or find the one that came with the key. KeyReused, QuotaExceeded, QueueFull, SchemaError."
    row = _row(user, inputs, area, season, model, key)

    def freely(conn: sa.Connection) -> float | None:
        return conn.scalar(FREE, row | {"room": limits.waiting - AT_ONCE})

    def in_turn(conn: sa.Connection) -> tuple[Job, bool]:
        if conn.dialect.name == "postgresql":  # SQLite has one writer anyway
            conn.execute(TURN)  # what others have submitted before is counted now
        role, waiting, had, earlier = conn.execute(STANDING, row).one()
        if earlier:
            return _same(_get(conn, earlier, user), row), False
        if waiting >= limits.waiting:
            raise _full(conn, waiting, limits)
        if role != "admin" and had >= limits.recruiter_jobs:
            raise QuotaExceeded(
                f"Jobs of {user.name}",
                found=f"{had} jobs",
                expected=f"{limits.recruiter_jobs} in all for a recruiter",
                remedy="Only those that failed or were dismissed before they began do not count. Ask an administrator.",
            )
        return _new(row, conn.scalar(NEW, row)), True

    try:
        # Whoever has no quota need not wait for others, but where the queue is nearly full.
        if user.admin and limits.waiting > AT_ONCE and (created := database.write(engine, freely, alone=True)):
            return _new(row, created), True
        return database.write(engine, in_turn)
    except sa.exc.IntegrityError:  # the same key, or id, is there since a moment ago
        return database.write(engine, in_turn)


def _new(row: Mapping[str, Any], created: float | None) -> Job:
    "A job that was accepted just now, as the database would tell it."
    assert created is not None
    sent = {name: row[name] for name in SENT if name != "idempotency_key"}
    later = "started", "finished", "result", "error", "lease_owner", "lease_until"
    nothing_yet: dict[str, Any] = dict.fromkeys(later)
    return Job(**sent, **BEGINNING, created=created, updated=created, **nothing_yet)


def _row(
    user: User, inputs: Mapping[str, Any], area: Area, season: Season, model: Model, key: str | None
) -> dict[str, Any]:
    given = geometry(area)
    outline = places.shape(given, "Area")
    if not isinstance(area, AOI):  # whose corners are ours, without heights
        given = shapely.geometry.mapping(outline)
    west, south, east, north = outline.bounds
    if key is not None and not KEY.fullmatch(key):
        raise SchemaError(
            "Idempotency key",
            found=f"{key[:20]!r}, {len(key)} characters",
            expected="1 to 128 printable characters of ASCII",
            remedy="A UUID will do.",
        )
    return {
        "id": uuid.uuid4().hex, "user_id": user.id, "idempotency_key": key, "inputs": _plain(inputs),
        "area": _plain(given), "west": west, "south": south, "east": east, "north": north,
        "season_first": season.first, "season_last": season.last, "year": season.year,
        "model": model.name, "model_version": model.version, "model_sha256": model.sha256,
        "traceparent": tracing.traceparent(),
    }  # fmt: skip


def _plain(document: Mapping[str, Any]) -> Any:
    "A document as it comes back from the database: lists for tuples."
    return orjson.loads(orjson.dumps(document))


def _same(job: Job, row: Mapping[str, Any]) -> Job:
    if job.inputs != row["inputs"]:
        raise KeyReused(
            f"Idempotency key {row['idempotency_key']}",
            found=f"other inputs than those of job {job.id}",
            expected="the same inputs with the same key",
            remedy="Send a new key with a new request.",
        )
    return job


def _full(conn: sa.Connection, waiting: int, limits: settings.Jobs) -> QueueFull:
    "Why nothing more is accepted, and after how long, at the pace of late, one job more will have begun."
    full = QueueFull(
        "Queue",
        found=f"{waiting} jobs that wait",
        expected=f"fewer than {limits.waiting}",
        remedy="Ask again in a while.",
    )
    full.retry_after_s = max(5, math.ceil(PACE_S / max(1, conn.scalar(LATELY) or 0)))
    return full


def get(
    engine: sa.Engine,
    id: str,
    user: User | None = None,  # None: whoever asks may see every job
) -> Job:
    "A job as it stands. JobNotFound, also for somebody else's."
    return database.read(engine, lambda conn: _get(conn, id, user))


def _get(conn: sa.Connection, id: str, user: User | None) -> Job:
    row = conn.execute(ROW, {"wanted": id}).one_or_none() if known(id) else None
    if row is None or not (user is None or user.admin or row.user_id == user.id):
        raise JobNotFound(
            f"Job {id[:40]!r}",
            found="none of this id among yours",
            expected="the id of one of your jobs",
            remedy="List your jobs.",
        )
    return Job(*row)


def known(id: str) -> bool:
    "Whether an id could be one of ours."
    return bool(ID.fullmatch(id))


def listed(
    engine: sa.Engine,
    user: User,
    *,
    limit: int,
    after: str | None = None,  # Id of the last job of the page before; None: the first page
    status: str | None = None,  # None: any
) -> list[Job]:
    "Jobs of a user, newest first; an admin's are everybody's. JobNotFound for an unknown `after`."

    def work(conn: sa.Connection) -> list[Job]:
        query = _page(conn, user, after).limit(limit)
        return [Job(*row) for row in conn.execute(query.where(jobs.c.status == status) if status else query)]

    return database.read(engine, work)


def _page(conn: sa.Connection, user: User, after: str | None) -> sa.Select[Any]:
    query = ROWS.order_by(*NEWEST) if user.admin else ROWS.where(jobs.c.user_id == user.id).order_by(*NEWEST)
    if after is None:
        return query
    last = _get(conn, after, user)
    return query.where(sa.tuple_(jobs.c.created, jobs.c.id) < sa.tuple_(last.created, last.id))


def found(
    engine: sa.Engine,
    user: User,
    *,
    bbox: Sequence[float] | None = None,  # West, south, east, north; west > east: across the antimeridian
    intersects: Mapping[str, Any] | None = None,  # GeoJSON geometry, WGS 84
    interval: tuple[dt.date | None, dt.date | None] = (None, None),  # First and last day; None: open
    limit: int,
    after: str | None = None,  # Id of the last job of the page before
) -> list[Job]:
    "Successful jobs that share a place and a day with what is asked, newest first. SchemaError, JobNotFound."
    place, (first, last) = _place(bbox, intersects), interval
    wanted = [jobs.c.status == "successful"]
    wanted += [jobs.c.season_last >= first] if first else []
    wanted += [jobs.c.season_first <= last] if last else []

    def work(conn: sa.Connection) -> list[Job]:
        query = _page(conn, user, after).where(*wanted)
        if place is None:
            return [Job(*row) for row in conn.execute(query.limit(limit))]
        if conn.dialect.name == "postgresql":
            shapes = (from_shape(part, srid=4326) for part in places.parts(place))
            near = sa.or_(*(sa.func.ST_Intersects(jobs.c.area_geom, shape) for shape in shapes))
            return [Job(*row) for row in conn.execute(query.where(near).limit(limit))]
        west, south, east, north = place.bounds
        near = sa.and_(jobs.c.west <= east, jobs.c.east >= west, jobs.c.south <= north, jobs.c.north >= south)
        with conn.execute(query.where(near)) as rows:
            candidates = itertools.starmap(Job, rows)
            return list(itertools.islice((job for job in candidates if places.touches(place, job.area)), limit))

    return database.read(engine, work)


def _place(bbox: Sequence[float] | None, intersects: Mapping[str, Any] | None) -> Any:
    "The geometry that is asked for; None is everywhere."
    if bbox is not None and intersects is not None:
        raise SchemaError("Search", found="bbox and intersects", expected="one of them", remedy="Leave one out.")
    if intersects is not None:
        return places.shape(intersects, "intersects")
    return None if bbox is None else places.box(bbox)


def several(
    engine: sa.Engine,
    ids: Sequence[str],
) -> list[Job]:
    "Jobs as they stand, whoever's they are, in one question; of unknown ids nothing."
    query = sa.select(*COLUMNS).where(jobs.c.id.in_(ids))
    return [Job(*row) for row in database.read(engine, lambda conn: conn.execute(query).all())]


def ages_s(engine: sa.Engine) -> tuple[float, float]:
    "Seconds that the oldest waiting job has waited, and the oldest running one has run; 0 where there is none."
    waits = sa.select(clock() - sa.func.min(jobs.c.created)).where(jobs.c.status == "accepted").scalar_subquery()
    runs = sa.select(clock() - sa.func.min(jobs.c.started)).where(jobs.c.status == "running").scalar_subquery()
    waited, ran = database.read(engine, lambda conn: conn.execute(sa.select(waits, runs)).one())
    return max(0.0, waited or 0.0), max(0.0, ran or 0.0)


def counts(engine: sa.Engine) -> dict[str, int]:
    "Number of jobs by status; all five are there."
    query = sa.select(jobs.c.status, sa.func.count()).group_by(jobs.c.status)
    return dict.fromkeys(STATUSES, 0) | {
        status: count for status, count in database.read(engine, lambda conn: conn.execute(query).all())
    }


def run_s(engine: sa.Engine) -> float | None:
    "Seconds from start to end of the latest successful jobs, their median; None where there is none."
    query = sa.select(jobs.c.finished - jobs.c.started).where(jobs.c.status == "successful")
    latest = query.order_by(jobs.c.finished.desc()).limit(LATEST)
    seconds = database.read(engine, lambda conn: conn.scalars(latest).all())
    return statistics.median(seconds) if seconds else None


def dismiss(
    engine: sa.Engine,
    id: str,
    user: User,
) -> Job:
    "End a job that is not wanted any more; again is no harm. JobNotFound; JobEnded where it succeeded or failed."

    def work(conn: sa.Connection) -> Job:
        _get(conn, id, user)
        left = sa.and_(jobs.c.id == id, jobs.c.status.in_(("accepted", "running")))
        conn.execute(sa.update(jobs).where(left).values(status="dismissed", **_END))
        return _get(conn, id, user)

    job = database.write(engine, work)
    if job.status != "dismissed":
        raise JobEnded(
            f"Job {id}",
            found=f"it {job.status}",
            expected="one that waits or runs",
            remedy="Its results stay where they are.",
        )
    return job


# --- working ---------------------------------------------------------------------------------------------------------

_END = {"finished": clock(), "updated": clock(), "lease_until": None}
_AGAIN = {"status": "accepted", "updated": clock(), "lease_owner": None, "lease_until": None, "progress": 0}


def claim(
    engine: sa.Engine,
    worker: str,  # Name that no other process has or had
    lease_s: float,
) -> Job | None:  # Running, leased to the worker; None: nothing waits
    "Take the oldest job that waits."
    ready = sa.and_(jobs.c.status == "accepted", jobs.c.not_before <= clock())
    oldest = sa.select(jobs.c.id).where(ready).order_by(jobs.c.created, jobs.c.id).limit(1)
    query = (
        sa.update(jobs)
        .where(jobs.c.id == oldest.with_for_update(skip_locked=True).scalar_subquery(), ready)
        .values(
            status="running",
            attempt=jobs.c.attempt + 1,
            started=sa.func.coalesce(jobs.c.started, clock()),
            updated=clock(),
            lease_owner=worker,
            lease_until=clock() + lease_s,
            message="",
        )
        .returning(*COLUMNS)
    )
    row = database.write(engine, lambda conn: conn.execute(query).one_or_none())
    return Job(*row) if row else None


def _held(job: Job, worker: str) -> sa.ColumnElement[bool]:
    "Whether the worker still has the job, in the attempt that it was given."
    return sa.and_(
        jobs.c.id == job.id,
        jobs.c.status == "running",
        jobs.c.attempt == job.attempt,
        jobs.c.lease_owner == worker,
    )


def beat(
    engine: sa.Engine,
    job: Job,  # As it was claimed
    worker: str,
    *,
    lease_s: float,
    progress: int,  # per cent
    message: str,
) -> bool:  # False: dismissed or taken over, stop working
    "Say that the worker lives; the lease begins anew."
    news = {"progress": min(max(progress, 0), 100), "message": _text(message)}
    query = sa.update(jobs).where(_held(job, worker)).values(updated=clock(), lease_until=clock() + lease_s, **news)
    return database.write(engine, lambda conn: conn.execute(query).rowcount == 1)


def _text(message: str) -> str:
    "What PostgreSQL takes as text."
    return message.replace("\0", "")[:MESSAGE_LENGTH].encode(errors="replace").decode()


def publish(
    engine: sa.Engine,
    job: Job,
    worker: str,
    result: Mapping[str, Any],  # JSON; {"files": manifest of Results.put, ...}
) -> bool:  # False: dismissed or taken over; nothing was published
    "The job has succeeded, and these are its results: verified, in the store."
    return _end(engine, job, worker, "successful", result=dict(result), progress=100, message="")


def fail(
    engine: sa.Engine,
    job: Job,
    worker: str,
    error: Mapping[str, Any],  # errors.described
) -> bool:  # False: dismissed or taken over
    "The job has failed, and another attempt would as well."
    return _end(engine, job, worker, "failed", error=dict(error))


def _end(engine: sa.Engine, job: Job, worker: str, status: str, **values: Any) -> bool:
    "The last step. Taken again by the same hand, as after a commit that was not heard of, it changes nothing."
    ours = (jobs.c.id == job.id, jobs.c.attempt == job.attempt, jobs.c.lease_owner == worker)
    taken = sa.select(sa.func.count()).where(*ours, jobs.c.status == status)
    step = sa.update(jobs).where(_held(job, worker)).values(status=status, **_END, **values)
    times = (jobs.c.created, jobs.c.started, jobs.c.finished)

    def work(conn: sa.Connection) -> bool:
        row = conn.execute(step.returning(*times)).one_or_none()
        if row is None and conn.scalar(taken) == 1:
            return True
        tallies.add(conn, _counted(status, row, values))
        return row is not None

    return database.write(engine, work)


def _counted(status: str, times: Sequence[float] | None, values: Mapping[str, Any]) -> tallies.Counts:
    "What is counted of a last step; one without times came too late."
    if status == "failed":
        return tallies.attempts("failed", 0 if times is None else 1, values["error"])
    if times is None:
        return tallies.attempts("refused")
    created, started, finished = times
    return tallies.published(started - created, finished - started, values["result"])


def retry(
    engine: sa.Engine,
    job: Job,
    worker: str,
    error: Mapping[str, Any],  # errors.described: why it fails if this was the last attempt
    *,
    limits: settings.Jobs,
    delay_s: float = 0.0,  # Nobody takes it earlier
) -> bool:  # False: dismissed or taken over
    "The attempt came to nothing, the next may not: accepted again, or failed where `attempts` are used up."

    def work(conn: sa.Connection) -> bool:
        return any(_lose(conn, _held(job, worker), error, limits, delay_s))

    return database.write(engine, work)


def _lose(
    conn: sa.Connection, which: sa.ColumnElement[bool], error: Mapping[str, Any], limits: settings.Jobs, delay_s: float
) -> tuple[Sequence[str], Sequence[str]]:
    "Count an attempt of running jobs as lost; ids of those that have failed by it, and of those that go on."
    lost = {"lost": jobs.c.lost + 1}
    last = sa.and_(which, jobs.c.lost + 1 >= limits.attempts)
    fail = sa.update(jobs).where(last).values(status="failed", error=dict(error), **lost, **_END)
    failed = conn.scalars(fail.returning(jobs.c.id)).all()
    again = sa.update(jobs).where(which).values(not_before=clock() + delay_s, message=AGAIN, **lost, **_AGAIN)
    retried = conn.scalars(again.returning(jobs.c.id)).all()
    ends = (("failed", failed), ("retried", retried))
    tallies.add(conn, {k: n for end, ids in ends for k, n in tallies.attempts(end, len(ids), error).items()})
    return failed, retried


def release(
    engine: sa.Engine,
    job: Job,
    worker: str,
) -> bool:  # False: dismissed or taken over
    "Give a job back unfinished, for another worker at once; the attempt is not held against it."
    query = sa.update(jobs).where(_held(job, worker)).values(not_before=clock(), message=AGAIN, **_AGAIN)

    def work(conn: sa.Connection) -> bool:
        given = conn.execute(query).rowcount
        tallies.add(conn, tallies.attempts("released", given))
        return given == 1

    return database.write(engine, work)


def reconcile(
    engine: sa.Engine,
    limits: settings.Jobs,
) -> Reconciled:
    "Find the jobs that were left lying. Any number of processes may do so at once."
    over = sa.and_(jobs.c.status == "running", jobs.c.lease_until < clock())
    error = described(
        AttemptLost(
            "The job",
            found=f"a worker that fell silent, {limits.attempts} times in all",
            expected="one that finishes",
            remedy="The logs of its attempts may say why; ask for a smaller area.",
        )
    )
    ready = sa.and_(jobs.c.status == "accepted", jobs.c.not_before <= clock())
    lying = sa.and_(ready, jobs.c.updated < clock() - limits.reconcile_s)
    waiting = sa.select(jobs.c.id).where(lying).order_by(jobs.c.created, jobs.c.id).limit(WAKES)

    def work(conn: sa.Connection) -> Reconciled:
        # Rows that another reconciler or a late heartbeat holds are left to it: nobody waits, nobody blocks another.
        silent = conn.scalars(sa.select(jobs.c.id).where(over).with_for_update(skip_locked=True)).all()
        failed, retried = _lose(conn, sa.and_(jobs.c.id.in_(silent), over), error, limits, 0.0)
        wake = [*retried, *conn.scalars(waiting).all()]
        return Reconciled(tuple(dict.fromkeys(wake)), tuple(retried), tuple(failed))

    return database.write(engine, work)
