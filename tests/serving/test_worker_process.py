"The worker as a process: called through Redis or not, told to stop, held to its memory."

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asked
import memory_limit
import pytest
import redis_server
import rq
from loopback import free_ports
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway
from runners import SLACK_S, SMALL, WHOLE, until
from sqlalchemy import Engine

from geocrop.settings import Store
from geocrop.store import bucket
from serving.jobs import database, jobs, models, queue, users, workers
from serving.jobs.models import Model
from serving.worker import process as guard_module

ROOT = Path(__file__).parents[2]
QUICK = {"GEOCROP_JOBS_LEASE_S": "20", "GEOCROP_JOBS_HEARTBEAT_S": "0.2", "GEOCROP_JOBS_RECONCILE_S": "2"}


@contextmanager
def started(database_url: str, log: Path, command: Sequence[str] = (), **more: str) -> Iterator[subprocess.Popen]:
    "A worker; killed at the end, if it is still there."
    env = {**os.environ, **QUICK, "GEOCROP_DATABASE_URL": database_url, **more}
    guard = [sys.executable, "-ES", guard_module.__file__, str(os.getpid())]  # or it would outlive a run that is killed
    words = [*guard, *command, sys.executable, "-m", "geocrop.cli", "worker"]
    with log.open("a") as out, subprocess.Popen(words, cwd=ROOT, env=env, stdout=out, stderr=out) as process:
        try:
            yield process
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    "Process ids of those that a process has started."
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_lost_job_goes_to_the_next_worker_which_drains_when_told(
    engine: Engine, database_url: str, ask: Callable, tmp_path: Path
):
    "The loss is noticed within lease and reconciling; the signal comes while the second attempt runs."
    lease_s, reconcile_s = 2.0, 1.0
    short = {"GEOCROP_JOBS_LEASE_S": str(lease_s), "GEOCROP_JOBS_RECONCILE_S": str(reconcile_s)}
    with started(database_url, tmp_path / "a", **short) as a, started(database_url, tmp_path / "b", **short) as b:
        warm = [ask(), ask()]
        until(lambda: all(jobs.get(engine, job.id).ended for job in warm), 120)
        until(lambda: len(workers.alive(engine, 120)) == 2, 120)
        lost = ask(WHOLE)
        until(lambda: jobs.get(engine, lost.id).status == "running", 120)
        first, second = (a, b) if f"-{a.pid}-" in str(jobs.get(engine, lost.id).lease_owner) else (b, a)
        first.kill()
        died = time.monotonic()
        until(lambda: jobs.get(engine, lost.id).attempt == 2, 120)
        took_s = time.monotonic() - died
        waiting = ask()
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0
    assert jobs.get(engine, lost.id).status == "successful"
    assert jobs.get(engine, waiting.id).status == "accepted"
    assert took_s < lease_s + reconcile_s + SLACK_S


def test_a_worker_gives_its_job_back_at_the_second(engine: Engine, database_url: str, ask: Callable, tmp_path: Path):
    job = ask(WHOLE)
    with started(database_url, tmp_path / "log") as worker:
        until(lambda: workers.alive(engine, 120) and children(worker.pid), 120)
        runner = children(worker.pid)[0]
        until(lambda: jobs.get(engine, job.id).status == "running", 120)
        os.kill(runner, signal.SIGSTOP)  # it will never be done
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.5)  # two signals of a kind at once are one
        assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    now = jobs.get(engine, job.id)
    assert (now.status, now.lost, now.attempt) == ("accepted", 0, 1)
    assert not Path(f"/proc/{runner}").exists()


def test_redis_calls_and_is_not_missed_while_it_is_away(sqlite_url: str, model: Model, tmp_path: Path):
    if redis_server.binary() is None:
        pytest.skip("no Redis: apt-get install redis-server")
    engine, [port] = database.connect(sqlite_url), free_ports(1)
    admin = users.add(engine, "root", "correct horse", "admin")
    seldom = {"GEOCROP_REDIS_URL": f"redis://127.0.0.1:{port}/0", "GEOCROP_JOBS_RECONCILE_S": "3600"}

    def done(wait_s: float, call: str = "") -> bool:
        job = asked.job(engine, admin, SMALL, model=model)
        if call:
            assert queue.wake(call, [job.id])
        end = time.monotonic() + wait_s
        while time.monotonic() < end and not jobs.get(engine, job.id).ended:
            time.sleep(0.05)
        return jobs.get(engine, job.id).status == "successful"

    with ExitStack() as stack:
        server = stack.enter_context(ExitStack())
        url = server.enter_context(redis_server.redis(tmp_path, port))
        stack.enter_context(started(sqlite_url, tmp_path / "log", **seldom))
        client = Redis.from_url(url)
        until(lambda: rq.Worker.count(connection=client) == 1, 120)
        queue.queue(url).enqueue_call("os.mkdir", args=(str(tmp_path / "intruder"),))
        assert done(60, call=url)
        assert not (tmp_path / "intruder").exists()
        assert not done(1.5)  # it waits to be called
        assert done(60, call=url)
        server.close()
        with pytest.raises(RedisAway):
            client.ping()
        assert done(60)  # it looks for itself
        url = server.enter_context(redis_server.redis(tmp_path, port))
        until(lambda: not done(1.5), 60)  # it waits again
        assert done(60, call=url)


def test_two_gigabytes_are_enough(sqlite_url: str, places: Store, model: Model, tmp_path: Path):
    "Worker and runner together, with the real model: a disc of 2 km, and the whole scene."
    where = bucket(places.models, make=True)
    real = models.put(where, ROOT / "results/model", "zimbabwe_embedded", "9")
    engine = database.connect(sqlite_url)
    admin = users.add(engine, "root", "correct horse", "admin")
    wanted = [asked.job(engine, admin, aoi, model=real) for aoi in (WHOLE, (31.05, -17.83, 4000.0))]
    with memory_limit.limited(2048) as group:
        with started(sqlite_url, tmp_path / "log", group.command()) as worker:
            until(lambda: all(jobs.get(engine, job.id).ended for job in wanted), 240)
            status = Path(f"/proc/{worker.pid}/status").read_text()
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0
        assert group.killed == 0
    own_mb = int(status.split("VmHWM:")[1].split()[0]) // 1024
    for job in wanted:
        done = jobs.get(engine, job.id)
        assert done.status == "successful" and done.result, done.error
        peak_mb = own_mb + done.result["measured"]["peak_mb"]
        print(f"{done.result['measured']['pixels']} px: worker and runner together {peak_mb} MB at most")
        assert peak_mb < 2048
