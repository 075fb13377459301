"What a worker does beside its work: say that it lives, and end an attempt that is not wanted or takes too long."

import logging
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa

from geocrop import settings
from serving.jobs import jobs, workers
from serving.jobs.errors import DatabaseUnavailable
from serving.jobs.jobs import Job

log = logging.getLogger(__name__)
TICK_S = 1.0  # news of a job are told at most so often
UNWANTED, LATE = "unwanted", "late"  # why an attempt was ended


class Heart(threading.Thread):
    "Beats from `start` to `stop`, with a job in its hands or without."

    def __init__(
        self,
        engine: sa.Engine,
        worker: str,  # Its name in the database
        limits: settings.Jobs,
        kill: Callable[[], None],  # Ends whoever works on the job, from this thread
    ):
        super().__init__(name="heart", daemon=True)
        self.engine, self.worker, self.limits, self.kill = engine, worker, limits, kill
        self._lock, self._over = threading.Lock(), threading.Event()
        self._job: Job | None = None
        self._ended = ""
        self._news, self._told = (0, ""), (0, "")
        self._until = self._due = 0.0

    def begin(self, job: Job) -> None:
        "From now on the lease is kept, and the clock runs."
        with self._lock:
            self._job, self._ended, self._news, self._told = job, "", (0, ""), (0, "")
            self._until = time.monotonic() + self.limits.deadline_s

    def tell(self, progress: int, message: str) -> None:
        "What is known of the job, told with the next beat."
        self._news = progress, message

    def end(self) -> str:  # UNWANTED, LATE, or nothing: it was not this that ended it
        "The attempt is over."
        with self._lock:
            self._job = None
            return self._ended

    def run(self) -> None:
        while True:
            try:
                self._beat()
            except DatabaseUnavailable as error:
                log.warning("nobody hears the heart beat: %s", error)
            if self._over.wait(min(TICK_S, self.limits.heartbeat_s)):
                return

    def _beat(self) -> None:
        job, news, now = self._job, self._news, time.monotonic()
        if job and now > self._until:
            self._end(job, LATE)
        if now < self._due and (job is None or news == self._told):
            return
        if now >= self._due:
            workers.seen(self.engine, self.worker)
        if job and not self._beat_for(job, *news):
            self._end(job, UNWANTED)
        self._due, self._told = now + self.limits.heartbeat_s, news

    def _beat_for(self, job: Job, progress: int, message: str) -> bool:
        lease_s = self.limits.lease_s
        return jobs.beat(self.engine, job, self.worker, lease_s=lease_s, progress=progress, message=message)

    def _end(self, job: Job, why: str) -> None:
        with self._lock:
            if self._job is job and not self._ended:  # or it has come to its own end meanwhile
                self._ended = why
                self.kill()

    def stop(self) -> None:
        "Be still, and be forgotten."
        self._over.set()
        self.join()
        try:
            workers.gone(self.engine, self.worker)
        except DatabaseUnavailable as error:
            log.warning("nobody heard that this worker has gone: %s", error)
