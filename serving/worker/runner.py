"""The process that makes maps: one job after the other, killed when one must end.

    python -m serving.worker.runner FD PARENT

It reads a job from each line of its standard input and says to FD what becomes of it, a line of JSON each time:
`ready`, once; then `progress` with `message`, any number of times, and `result`, or `error` with
`again`, whether another attempt may help, and `last`, whether the process should be replaced. What it and its libraries
print goes to the log of the attempt. It ends with its input, and with its parent.
"""

import datetime as dt
import errno
import faulthandler
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from geocrop import settings
from geocrop.schema import GeocropError, StoreError
from geocrop.store import bucket
from serving import tracing
from serving.jobs import models
from serving.jobs.errors import described
from serving.jobs.jobs import Job
from serving.jobs.objects import failing
from serving.jobs.results import Results
from serving.logs import log_to_stderr, of_job

from .errors import AttemptError, PublishError
from .process import die_with

WARM_RADIUS_M = 50  # of the map that is made for nobody
MAP = "map.tif"  # of a job; the files beside it have its stem
log = logging.getLogger("serving.worker.runner")


def task(
    job: Job,
    folder: Path,  # Empty; what the job makes is written here
    log_file: Path,  # What it prints is added here
    store: settings.Store,
) -> dict[str, Any]:
    "A job as a runner takes it, plain JSON."
    row = asdict(job) | {"season_first": f"{job.season_first}", "season_last": f"{job.season_last}"}
    places = {"models": store.models, "results": store.results, "folder": str(folder), "log": str(log_file)}
    return {"job": row, **places, "traceparent": tracing.traceparent()}


def _job(row: dict[str, Any]) -> Job:
    days = {name: dt.date.fromisoformat(row[name]) for name in ("season_first", "season_last")}
    return Job(**row | days)


@contextmanager
def _printing_to(path: str) -> Iterator[None]:
    "Let everything that is printed, by whatever language, go to a file."
    kept = os.dup(1), os.dup(2)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for descriptor in (1, 2):
            os.dup2(file, descriptor)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        for descriptor, before in zip((1, 2), kept, strict=True):
            os.dup2(before, descriptor)
            os.close(before)
        os.close(file)


def _note(text: str) -> None:
    "Add a line to the log, if the disk has room for it."
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


def peak_mb() -> int:
    "Most memory that this process had at once since it was last reset, in MB."
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) // 1024 if found else 0


def _reset_peak() -> None:
    with suppress(OSError):  # a kernel that does not let us: then it is the peak since the start
        Path("/proc/self/clear_refs").write_text("5")


class Runner:
    "Jobs, one at a time."

    def __init__(
        self,
        say: Callable[..., None],  # Called with the parts of a message
    ):
        from .maps import Loaded  # all of the science

        self.say, self.loaded = say, Loaded()

    def warm(self) -> None:
        "Load the champion, and what it maps with. What goes wrong now goes wrong again when a job is there to tell it."
        from .maps import compiling_once, warm

        store, catalogue = settings.settings("store"), settings.settings("catalogue")
        try:
            model = models.champion(bucket(store.models), settings.params("base").name)
            with compiling_once():
                ready = self.loaded.get(store.models, model)
                if "://" not in catalogue.href:  # an archive on the network is not asked for nothing
                    warm(ready, WARM_RADIUS_M)
        except GeocropError as error:
            log.warning("not warm: %s", error)

    def run(self, task: dict[str, Any]) -> None:
        "Make the map of a job and keep it, or say why not; last of all, when the log is complete."
        id, parent = task["job"]["id"], task["traceparent"]
        with _printing_to(task["log"]), of_job(id), tracing.span("map", parent, facts={"geocrop.job": id}):
            _reset_peak()
            try:
                said: dict[str, Any] = {"result": self._made(_job(task["job"]), task)}
            except Exception as error:
                _note(traceback.format_exc())
                known = _known(error)
                # of a memory that was too small only pieces are left
                said = {"again": isinstance(known, StoreError), "last": isinstance(error, MemoryError)}
                said["error"] = described(known)
            _note(f"most memory at once: {peak_mb()} MB")
        self.say(**said)

    def _made(self, job: Job, task: dict[str, Any]) -> dict[str, Any]:
        from .maps import make

        _note(f"job {job.id}, attempt {job.attempt}: {job.bundle}, season {job.season}")
        said = (-1, "")

        def tell(progress: int, message: str) -> None:
            nonlocal said
            if (progress, message) != said:
                said = progress, message
                self.say(progress=progress, message=message)

        tell(0, "fetching the model")
        with tracing.span("fetch model", facts={"geocrop.model": f"{job.model} {job.model_version}"}):
            model = self.loaded.get(task["models"], job.bundle)
        folder = Path(task["folder"])
        made = make(model, job.area, job.season, folder / MAP, tell)
        tell(92, "storing the map")
        with tracing.span("store map"):
            files = _kept(task["results"], job, folder)
        _note(f"{made.pixels} pixels of {made.scenes} scenes in {made.seconds:.2f} s")
        measured = {"seconds": round(made.seconds, 3), "pixels": made.pixels, "scenes": made.scenes}
        return {"files": files, "summary": made.product.page(), "measured": measured | {"peak_mb": peak_mb()}}


def _kept(where: str, job: Job, folder: Path) -> dict[str, dict[str, Any]]:
    "Manifest of the files that lie in the store now. PublishError."
    try:
        with failing(f"Store {where}"):
            store = bucket(where, make=True)
        return Results(store).put(job, folder)
    except StoreError as error:
        raise PublishError(error.thing, found=error.found, expected=error.expected, remedy=error.remedy) from error


def _known(error: Exception) -> Exception:
    "Memory and disk in our words; what they are short of is seldom the job's fault."
    if isinstance(error, MemoryError):
        return AttemptError(
            "Memory of the worker",
            found=f"no more after {peak_mb()} MB",
            expected="enough for this area",
            remedy="Ask for a smaller area, lower export.window_px in params.yaml, or give the worker more memory.",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return AttemptError(
            "Disk of the worker",
            found="no room left",
            expected="room for the map and for work on it",
            remedy="Free some in its temporary folder (TMPDIR), or ask for a smaller area.",
        )
    return error


def main(lines: IO[str], wire: int, parent: int) -> None:
    "Run jobs until there are no more."
    die_with(parent)
    os.set_inheritable(wire, False)
    faulthandler.enable()  # a crash in native code leaves its traceback in the log
    log_to_stderr()
    tracing.begin("runner")

    def say(**message: Any) -> None:
        os.write(wire, json.dumps(message).encode() + b"\n")

    runner = Runner(say)
    runner.warm()
    say(ready=True)
    for line in lines:
        runner.run(json.loads(line))
    tracing.end()


if __name__ == "__main__":
    main(sys.stdin, int(sys.argv[1]), int(sys.argv[2]))
