"""What has become of jobs, for those who wait for it: one question to the database, however many they are.

Streams of one process share a task that asks for all watched jobs at once, twice a second, and tells their readers.
A reader costs a task that sleeps: no thread, no connection.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

import anyio
from sqlalchemy import Engine

from serving.jobs import jobs
from serving.jobs.errors import DatabaseUnavailable
from serving.jobs.jobs import Job

from .errors import Busy

log = logging.getLogger(__name__)
EVERY_S = 0.5
SILENCE_S = 15.0  # after which a reader is told that there is nothing new
READERS = 1000  # of one process


class Changes:
    "Jobs that somebody watches."

    def __init__(self, engine: Engine):
        self._engine = engine
        self._watched: dict[str, _Watched] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def admit(self) -> None:
        "Busy where there are too many readers."
        if sum(watched.readers for watched in self._watched.values()) >= READERS:
            raise Busy("Event streams", found=f"{READERS}", expected="fewer", remedy="Ask for the status instead.")

    async def follow(
        self,
        job: Job,
        told: Callable[[Job], bytes],  # How a job is told; called once for each change, whoever reads
    ) -> AsyncIterator[bytes | None]:  # None: nothing new
        "The job as it is, then each change, to its end or that of the process."
        watched = self._watched.setdefault(job.id, _Watched(job))
        watched.take(job)
        watched.readers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ask())
        seen = None
        try:
            while not self._closed:
                if watched.job is not seen:
                    seen = watched.job
                    yield watched.told(told)
                    if seen.ended:
                        return
                elif not await watched.change():
                    yield None
        finally:
            watched.readers -= 1
            if not watched.readers:
                self._watched.pop(job.id, None)

    def close(self) -> None:
        "End all streams; their readers come again, to another process."
        self._closed = True
        for watched in self._watched.values():
            watched.wake()

    async def _ask(self) -> None:
        limiter = anyio.CapacityLimiter(1)  # a thread of its own: others may all be busy
        while self._watched and not self._closed:
            await asyncio.sleep(EVERY_S)
            try:
                found = await anyio.to_thread.run_sync(jobs.several, self._engine, list(self._watched), limiter=limiter)
            except DatabaseUnavailable as error:
                log.warning("event streams wait: %s", error)
                continue
            for job in found:
                if watched := self._watched.get(job.id):
                    watched.take(job)


class _Watched:
    "A job as it was last seen, and how many read of it."

    def __init__(self, job: Job):
        self.job, self.readers = job, 0
        self._told: bytes | None = None
        self._changed = asyncio.Event()

    def take(self, job: Job) -> None:
        "The job as it is now; what is older than what we have is not taken."
        if job != self.job and job.updated >= self.job.updated:
            self.job, self._told = job, None
            self.wake()

    def wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self) -> bool:  # False: nothing happened for a while
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), SILENCE_S)
            return True
        return False

    def told(self, how: Callable[[Job], bytes]) -> bytes:
        if self._told is None:
            self._told = how(self.job)
        return self._told
