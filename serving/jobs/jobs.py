"""A job from the question to its end. The row in the database is the truth; each step is one conditional UPDATE.

    submit -> accepted -> (claim) running -> successful | failed
                 ^  \\-> dismissed <-/  |
                 |                     |  lease over, retry: again, or failed when `attempts` are used up
                 \\---------------------/  release: again, uncounted

`attempt` goes up with each claim and never down. Whoever holds an older one is told so by False, and stops.
"""

import datetime as dt
import hashlib
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import shapely
import sqlalchemy as sa

from geocrop import settings
from geocrop.schema import Area, SchemaError, Season, geometry

from . import database
from .database import clock
from .errors import JobEnded, JobNotFound, KeyReused, QueueFull, QuotaExceeded
from .models import Model
from .tables import FINAL, jobs, users
from .users import User, used

KEY_LENGTH = 128  # characters of an idempotency key, at most
MESSAGE_LENGTH = 1000  # characters of a job's message that are kept
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


COLUMNS = tuple(jobs.c[field.name] for field in fields(Job))


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
    raise NotImplementedError


def get(
    engine: sa.Engine,
    id: str,
    user: User | None = None,  # None: whoever asks may see every job
) -> Job:
    "A job as it stands. JobNotFound, also for somebody else's."
    raise NotImplementedError


def listed(
    engine: sa.Engine,
    user: User,
    *,
    limit: int,
    after: str | None = None,  # Id of the last job of the page before; None: the first page
    status: str | None = None,  # None: any
) -> list[Job]:
    "Jobs of a user, newest first; an admin's are everybody's. JobNotFound for an unknown `after`."
    raise NotImplementedError


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
    raise NotImplementedError


def counts(engine: sa.Engine) -> dict[str, int]:
    "Number of jobs by status; all five are there."
    raise NotImplementedError


def run_s(engine: sa.Engine) -> float | None:
    "Seconds from start to end of the latest successful jobs, their median; None where there is none."
    raise NotImplementedError


def dismiss(
    engine: sa.Engine,
    id: str,
    user: User,
) -> Job:
    "End a job that is not wanted any more; again is no harm. JobNotFound; JobEnded where it succeeded or failed."
    raise NotImplementedError


# --- working ---------------------------------------------------------------------------------------------------------


def claim(
    engine: sa.Engine,
    worker: str,  # Name that no other process has or had
    lease_s: float,
) -> Job | None:  # Running, leased to the worker; None: nothing waits
    "Take the oldest job that waits."
    raise NotImplementedError


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
    raise NotImplementedError


def publish(
    engine: sa.Engine,
    job: Job,
    worker: str,
    result: Mapping[str, Any],  # JSON; {"files": manifest of Results.put, ...}
) -> bool:  # False: dismissed or taken over; nothing was published
    "The job has succeeded, and these are its results: verified, in the store."
    raise NotImplementedError


def fail(
    engine: sa.Engine,
    job: Job,
    worker: str,
    error: Mapping[str, Any],  # errors.described
) -> bool:  # False: dismissed or taken over
    "The job has failed, and another attempt would as well."
    raise NotImplementedError


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
    raise NotImplementedError


def release(
    engine: sa.Engine,
    job: Job,
    worker: str,
) -> bool:  # False: dismissed or taken over
    "Give a job back unfinished, for another worker at once; the attempt is not held against it."
    raise NotImplementedError


def reconcile(
    engine: sa.Engine,
    limits: settings.Jobs,
) -> Reconciled:
    "Find the jobs that were left lying. Any number of processes may do so at once."
    raise NotImplementedError
