"Many who do the same at the same moment: threads of this process, and of several processes."

import contextlib
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import asked
from sqlalchemy import Engine

from geocrop import settings
from geocrop.schema import GeocropError
from serving.jobs import database, jobs, users


def threads(
    number: int,
    work: Callable[[int], Any],  # Given the number of the thread
) -> list[Any]:  # What each returned, or the GeocropError it met; any other error is raised
    "All begin at once."
    start = threading.Barrier(number)

    def one(index: int) -> Any:
        start.wait(120)
        try:
            return work(index)
        except GeocropError as error:
            return error

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


@contextlib.contextmanager
def processes(number: int) -> Iterator[ProcessPoolExecutor]:
    "Processes that have the imports done, and none of our threads."
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rush"])
    with ProcessPoolExecutor(number, mp_context=context) as pool:
        yield pool


def in_processes(
    pool: ProcessPoolExecutor,
    number: int,  # Processes
    each: int,  # Threads of a process
    work: Callable[[Engine, int], Any],  # Of this module, given the number of the thread
    url: str,  # Database
) -> list[Any]:  # What each thread returned, or the GeocropError it met
    "The same in several processes."
    found = [pool.submit(_process, work, url, each, first) for first in range(0, number * each, each)]
    return [answer for future in found for answer in future.result(240)]


def _process(work: Callable[[Engine, int], Any], url: str, each: int, first: int) -> list[Any]:
    engine = database.connect(url)
    try:
        return threads(each, lambda index: work(engine, first + index))
    finally:
        engine.dispose()


# --- what they do ----------------------------------------------------------------------------------------------------


def submit(engine: Engine, _index: int) -> str:
    "A job of the recruiter of the tests; its id."
    user = users.get(engine, "tendai")
    assert user
    return asked.job(engine, user).id


def submit_with_key(engine: Engine, _index: int) -> str:
    "A job with a key that everybody sends; its id."
    user = users.get(engine, "tendai")
    assert user
    return asked.job(engine, user, key="the same").id


def take_all(engine: Engine, index: int) -> list[tuple[str, int]]:
    "Claim until nothing is left; id and attempt of each."
    taken = []
    while job := jobs.claim(engine, f"worker {index}", 60):
        taken.append((job.id, job.attempt))
    return taken


def work_off(engine: Engine, index: int) -> list[str]:
    "Claim, beat and publish until nothing is left; ids of what was published."
    done, worker = [], f"worker {index}"
    while job := jobs.claim(engine, worker, 60):
        assert jobs.beat(engine, job, worker, lease_s=60, progress=50, message="half")
        jobs.reconcile(engine, settings.Jobs())
        assert jobs.publish(engine, job, worker, {"files": {}})
        done.append(job.id)
    return done


def upgrade(engine: Engine, _index: int) -> None:
    "What each process of a service does that starts on an empty machine."
    database.upgrade(engine)
