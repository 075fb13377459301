"""What has become of jobs, for those who wait for it: one question to the database, however many they are.

Whoever polls a status and whoever reads a stream of events share a task of the process that asks for all their jobs at
once, twice a second. A status is told from what it last heard, at most `FRESH_S` ago: no thread, no connection, no
query. What is done to a job in this process is known at once.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable

import anyio
from sqlalchemy import Engine

from serving.jobs import jobs
from serving.jobs.errors import DatabaseUnavailable
from serving.jobs.jobs import Job

from .errors import Busy

log = logging.getLogger(__name__)
EVERY_S = 0.5
FRESH_S = 2.0  # what was heard longer ago is not told: the database is asked. Twice a busy turn, or all ask at once
WANTED_S = 5.0  # how long a job is asked for after somebody wanted its status
MOST = 1000  # jobs at once
SILENCE_S = 15.0  # after which a reader is told that there is nothing new
READERS = 1000  # of one process


class Watched:
    "A job as the database last told it."

    def __init__(self, job: Job, tell: Callable[[Job], bytes]):
        self.job, self.heard, self.wanted, self.readers = job, time.monotonic(), 0.0, 0
        self._tell = tell
        self._told: bytes | None = None
        self._changed = asyncio.Event()

    def told(self) -> bytes:
        "The job in words, which are made once for each change."
        if self._told is None:
            self._told = self._tell(self.job)
        return self._told

    def take(self, job: Job, heard: float) -> None:
        "The job as the database told it at a moment; what is older than what we have is not taken."
        if job.updated < self.job.updated:
            return
        self.heard = max(heard, self.heard)
        if job != self.job:
            self.job, self._told = job, None
            self.wake()

    def wake(self) -> None:
        "Let readers look."
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self) -> bool:  # False: nothing happened for a while
        "Wait until there is something to look at."
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), SILENCE_S)
            return True
        return False


class Changes:
    "Jobs that somebody wants to know of. Of the event loop alone: other threads keep away."

    def __init__(
        self,
        engine: Engine,
        tell: Callable[[Job], bytes],  # A job in words
    ):
        self._engine, self._tell = engine, tell
        self._watched: dict[str, Watched] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def known(self, id: str) -> Watched | None:  # None: the database has to be asked
        "A job, where it was heard of lately or will not change any more."
        watched = self._watched.get(id)
        if watched is None or not (watched.job.ended or time.monotonic() - watched.heard < FRESH_S):
            return None
        watched.wanted = time.monotonic() + WANTED_S
        return watched

    def keep(self, job: Job) -> Watched:
        "A job as it was read just now, to be asked for from now on; not where there are too many."
        now = time.monotonic()
        if job.id not in self._watched and len(self._watched) >= MOST:
            return Watched(job, self._tell)
        watched = self._watched.setdefault(job.id, Watched(job, self._tell))
        watched.take(job, now)
        watched.wanted = now + WANTED_S
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ask())
        return watched

    def admit(self) -> None:
        "Busy where there are too many readers."
        if sum(watched.readers for watched in self._watched.values()) >= READERS:
            raise Busy("Event streams", found=f"{READERS}", expected="fewer", remedy="Ask for the status instead.")

    async def follow(
        self,
        job: Job,
    ) -> AsyncIterator[bytes | None]:  # None: nothing new
        "The job as it is, then each change, to its end or that of the process."
        watched = self.keep(job)
        self._watched[job.id] = watched  # a reader is asked for, however many there are: `admit` bounds them
        watched.readers += 1
        seen = None
        try:
            while not self._closed:
                if watched.job is not seen:
                    seen = watched.job
                    yield watched.told()
                    if seen.ended:
                        return
                elif not await watched.change():
                    yield None
        finally:
            watched.readers -= 1

    def close(self) -> None:
        "End all streams; their readers come again, to another process."
        self._closed = True
        for watched in self._watched.values():
            watched.wake()

    async def _ask(self) -> None:
        limiter = anyio.CapacityLimiter(1)  # a thread of its own: others may all be busy
        while self._watched and not self._closed:
            await asyncio.sleep(EVERY_S)
            now = time.monotonic()
            self._watched = {id: w for id, w in self._watched.items() if w.readers or w.wanted > now}
            ids = [id for id, watched in self._watched.items() if not watched.job.ended]
            if not ids:
                continue
            try:
                found = await anyio.to_thread.run_sync(jobs.several, self._engine, ids, limiter=limiter)
            except DatabaseUnavailable as error:
                log.warning("those who wait for jobs wait longer: %s", error)
                continue
            for job in found:
                if watched := self._watched.get(job.id):
                    watched.take(job, now)
