"""One job at a time: claimed, run in a process of its own, watched, verified, published once.

The worker itself reads no image and runs no model: whatever happens to the process that does, a job that blocks, eats
the memory, crashes or is no longer wanted, the worker is there to say so, and takes the next.
"""

import logging
import os
import socket
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from geocrop import settings
from geocrop.schema import GeocropError
from geocrop.store import bucket
from serving import tracing
from serving.jobs import jobs
from serving.jobs.errors import DatabaseUnavailable, described
from serving.jobs.jobs import Job
from serving.jobs.results import LOG, Results
from serving.logs import of_job

from .bell import Bell
from .errors import AttemptError
from .heart import LATE, UNWANTED, Heart
from .leash import Leash
from .runner import task

log = logging.getLogger(__name__)
AGAIN_S = 1.0  # before a job is tried again; three times as long after each attempt that came to nothing
INSIST_S = 1.0  # between two attempts to tell a database that is away


class Worker:
    "Runs jobs as long as it is asked to; a context, in which it counts as alive."

    def __init__(
        self,
        engine: sa.Engine,
        store: settings.Store,
        limits: settings.Jobs,
        *,
        bell: Bell,  # Tells when to stop
        leash: Leash | None = None,  # Of a runner that is there already
        done: Callable[[Job, dict[str, Any]], None] = lambda job, result: None,  # Called with what was published
    ):
        self.engine, self.store, self.limits, self.bell, self.done = engine, store, limits, bell, done
        self.name = f"{socket.gethostname()[:80]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.results = Results(bucket(store.results, make=True))
        self.leash = leash or Leash()
        self.heart = Heart(engine, self.name, limits, self.leash.kill)

    def __enter__(self) -> "Worker":
        self.leash.start()
        self.heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.heart.stop()
        self.leash.close()

    def run_next(self) -> bool:  # False: nothing waits
        "Take the oldest job that waits and bring it to an end, or give it back. DatabaseUnavailable, AttemptError."
        try:
            self.leash.ready()
        except AttemptError:
            if not self.bell.stopping:  # or it was not let become ready
                raise
        if self.bell.stopping:
            return False
        job = jobs.claim(self.engine, self.name, self.limits.lease_s)
        if job is None:
            return False
        facts = {"geocrop.job": job.id, "geocrop.attempt": job.attempt, "geocrop.waited_s": job.updated - job.created}
        with of_job(job.id), tracing.span("job", job.traceparent, kind="consumer", facts=facts):
            self._run(job)
        return True

    def _run(self, job: Job) -> None:
        log.info("job %s, attempt %d: begins", job.id, job.attempt)
        self.heart.begin(job)
        try:
            said = self._attempt(job)
        except OSError as error:
            said = {"error": described(_no_folder(error)), "again": True}
        finally:
            ended = self.heart.end()
        with tracing.span("settle"):
            self._settle(job, said, ended)

    def _attempt(self, job: Job) -> dict[str, Any]:
        "What became of it: a result, or an error and whether to try again."
        with tempfile.TemporaryDirectory(prefix="geocrop-job-") as scratch:
            log_file, folder = Path(scratch) / LOG, Path(scratch) / "files"
            log_file.touch()
            folder.mkdir()
            self.leash.ask(task(job, folder, log_file, self.store))
            said = self._listen()
            try:
                self.results.put_log(job, log_file)
            except GeocropError as error:  # the map counts
                log.warning("job %s, attempt %d: its log is lost: %s", job.id, job.attempt, error)
            if said.get("last"):
                self.leash.close()
            return said

    def _listen(self) -> dict[str, Any]:
        while (said := self.leash.hear()) is not None:
            if "progress" not in said:
                return said
            self.heart.tell(said["progress"], said["message"])
        why = AttemptError(
            "Process that made the map",
            found=self.leash.farewell(),
            expected="one that lives until the map is done",
            remedy="Its log says more. Where memory was short: ask for a smaller area, or give the worker more.",
        )
        return {"error": described(why), "again": True}

    def _settle(self, job: Job, said: dict[str, Any], ended: str) -> None:
        "Write what became of an attempt into the job's row; the row decides whether it still counts."
        me, kept = (self.engine, job, self.name), False
        if "result" in said:  # whoever ended it came too late
            kept = self._insist(lambda: jobs.publish(*me, said["result"]))
            if kept:
                self.done(job, said["result"])
        elif ended == LATE:
            self._insist(lambda: jobs.fail(*me, described(self._late())))
        elif ended == UNWANTED:
            pass
        elif self.bell.hurry:
            self._insist(lambda: jobs.release(*me))
        elif said["again"]:
            delay_s = AGAIN_S * 3**job.lost
            self._insist(lambda: jobs.retry(*me, said["error"], limits=self.limits, delay_s=delay_s))
        else:
            self._insist(lambda: jobs.fail(*me, said["error"]))
        log.info("job %s, attempt %d: %s", job.id, job.attempt, "published" if kept else ended or _short(said))
        if not kept:
            self._forget(job)

    def _late(self) -> AttemptError:
        return AttemptError(
            "Time of the job",
            found=f"no end after {self.limits.deadline_s:g} s",
            expected="a map within that time",
            remedy="Ask for a smaller area; the limit is deadline_s of [jobs] in settings.ini.",
        )

    def _insist(self, act: Callable[[], bool]) -> bool:
        "Do it as soon as the database answers: a map that is made is not thrown away because a server restarts."
        while True:
            try:
                return act()
            except DatabaseUnavailable as error:
                log.warning("waiting for the database: %s", error)
                if self.bell.hurry:
                    return False  # its lease will run out
                self.bell.wait(INSIST_S)

    def _forget(self, job: Job) -> None:
        "Remove what an attempt has left in the store, unless it is what was published."
        try:
            now = jobs.get(self.engine, job.id)
            if now.status != "successful" or now.attempt != job.attempt:
                self.results.remove(job.id, job.attempt)
        except GeocropError as error:
            log.warning("job %s, attempt %d: files are left in the store: %s", job.id, job.attempt, error)


def _no_folder(error: OSError) -> AttemptError:
    found = " ".join(str(error).split())
    return AttemptError("Disk of the worker", found=found, expected="room for a folder", remedy="Free some (TMPDIR).")


def _short(said: dict[str, Any]) -> str:
    return "result refused" if "result" in said else "{thing}: found {found}".format(**said["error"])
