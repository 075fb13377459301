"What a worker makes of a job, and of one that goes wrong, on both databases: real processes, real maps."

import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pipeline import made
from runners import FILES, LIMITS, SLACK_S, Watched, during, left, until
from sqlalchemy import Engine

from geocrop.schema import StoreError
from geocrop.settings import Store
from geocrop.store import bucket
from serving.jobs import jobs, models, workers
from serving.jobs.models import Model
from serving.jobs.users import User


def test_a_job_is_published_with_its_files_its_numbers_and_its_log(
    engine: Engine, places: Store, work: Callable, ask: Callable
):
    worker, job = work(), ask()
    assert worker.run_next() and not worker.run_next()
    job = jobs.get(engine, job.id)
    assert (job.status, job.progress, job.attempt, job.error) == ("successful", 100, 1, None)
    assert job.result and set(job.result["files"]) == FILES
    assert left(places, job) == {f"1/{name}" for name in FILES | {"log.txt"}}
    page = json.loads(worker.results.read(job, "map.stats.json"))
    assert job.result["summary"]["hectares_counted"] == page["hectares_counted"]
    assert sum(page["hectares_counted"].values()) == pytest.approx(28.2, abs=0.5)  # pi 0.3 km squared
    assert job.result["measured"]["pixels"] > 3600 and job.result["measured"]["peak_mb"] > 100
    log = worker.results.log(job, 1).decode()
    assert job.id in log and "most memory at once" in log
    assert workers.alive(engine, 20) == [worker.name]


def test_progress_is_told_while_the_job_runs(engine: Engine, work: Callable, ask: Callable, ready: Watched):
    told: list[tuple[int, str]] = []

    def look() -> None:
        until(lambda: jobs.get(engine, job.id).message.startswith("mapping"))
        found = jobs.get(engine, job.id)
        told.append((found.progress, found.status))
        ready.send(signal.SIGCONT)

    job = ask()
    ready.when["mapping"] = lambda: ready.send(signal.SIGSTOP)
    during(work().run_next, look)
    assert 0 < told[0][0] < 90 and told[0][1] == "running"
    assert jobs.get(engine, job.id).status == "successful"


def test_a_new_champion_maps_new_jobs_and_the_old_one_those_that_were_asked_of_it(
    engine: Engine, places: Store, work: Callable, ask: Callable, model: Model, ready: Watched, tmp_path: Path
):
    old = ask()
    where, folder = bucket(places.models), shutil.copytree(made("model"), tmp_path / "new")
    new = models.put(where, folder, "zimbabwe_embedded", "2")
    models.point(where, new)
    try:
        younger, worker, pid = ask(model=models.champion(where, "zimbabwe_embedded")), work(), ready.pid
        while worker.run_next():
            pass
    finally:
        models.point(where, model)
    for job, made_by in ((old, model), (younger, new)):
        item = json.loads(worker.results.read(jobs.get(engine, job.id), "map.json"))
        assert item["properties"]["geocrop:model_sha256"] == made_by.sha256
    assert ready.pid == pid  # the same process has both


def test_a_job_without_scenes_fails_alone(engine: Engine, work: Callable, ask: Callable, ready: Watched):
    nowhere, fine, worker, pid = ask((20.0, -17.83, 300.0)), ask(), work(), ready.pid
    assert worker.run_next() and worker.run_next()
    job = jobs.get(engine, nowhere.id)
    assert job.status == "failed" and job.error and job.error["kind"] == "ItemsError" and job.error["remedy"]
    assert b"Traceback" in worker.results.log(job, 1)
    assert jobs.get(engine, fine.id).status == "successful" and ready.pid == pid


def test_a_dismissed_job_is_killed_within_a_heartbeat_and_leaves_nothing(
    engine: Engine, places: Store, work: Callable, ask: Callable, admin: User, ready: Watched
):
    job, pid, took = ask(), ready.pid, []

    def dismiss() -> None:
        until(lambda: jobs.get(engine, job.id).status == "running")
        jobs.dismiss(engine, job.id, admin)
        begin = time.monotonic()
        until(lambda: not Path(f"/proc/{pid}/stat").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split())
        took.append(time.monotonic() - begin)

    ready.send(signal.SIGSTOP)  # hung: it hears no request to stop
    during(work().run_next, dismiss)
    assert took[0] < LIMITS.heartbeat_s + SLACK_S  # its lease and its deadline are longer
    assert jobs.get(engine, job.id).status == "dismissed"
    assert left(places, job) == {"1/log.txt"}


def test_a_job_that_hangs_is_killed_at_its_deadline_and_the_next_one_runs(
    engine: Engine, work: Callable, ask: Callable, ready: Watched
):
    worker, job, fine = work(replace(LIMITS, deadline_s=0.5)), ask(), ask()
    ready.send(signal.SIGSTOP)
    begin = time.monotonic()
    worker.run_next()
    assert time.monotonic() - begin < 0.5 + SLACK_S
    job = jobs.get(engine, job.id)
    assert job.status == "failed" and job.error and job.error["found"] == "no end after 0.5 s"
    worker.heart.limits = LIMITS
    assert worker.run_next()
    assert jobs.get(engine, fine.id).status == "successful"


def test_a_runner_that_crashes_is_tried_again_and_its_log_says_where(
    engine: Engine, work: Callable, ask: Callable, ready: Watched
):
    worker, job = work(), ask()
    ready.when["mapping"] = lambda: ready.send(signal.SIGSEGV)
    assert worker.run_next()
    between = jobs.get(engine, job.id)
    assert (between.status, between.attempt, between.lost) == ("accepted", 1, 1)
    assert b"Segmentation fault" in worker.results.log(job, 1)
    until(worker.run_next)  # after a pause
    assert (jobs.get(engine, job.id).status, jobs.get(engine, job.id).attempt) == ("successful", 2)


def test_a_worker_that_was_given_up_publishes_nothing(
    engine: Engine, places: Store, work: Callable, ask: Callable, ready: Watched
):
    "Its lease ran out while it could say nothing; another attempt is under way when it comes back."
    deaf = work(replace(LIMITS, lease_s=0.5, heartbeat_s=3600))
    job, other = ask(), "another worker"

    def take_over() -> None:
        until(lambda: jobs.get(engine, job.id).status == "running")
        until(lambda: jobs.reconcile(engine, LIMITS).retried)
        until(lambda: jobs.claim(engine, other, 60))
        ready.send(signal.SIGCONT)

    ready.when["storing"] = lambda: ready.send(signal.SIGSTOP)
    deaf.heart._due = float("inf")  # it tells nothing until it is too late
    deaf.heart._until = float("inf")
    ready.send(signal.SIGSTOP)
    during(deaf.run_next, take_over)
    now = jobs.get(engine, job.id)
    assert (now.status, now.attempt, now.lease_owner, now.result) == ("running", 2, other, None)
    assert left(places, job) == {"1/log.txt"}


def test_a_job_that_is_given_back_does_not_count(engine: Engine, work: Callable, ask: Callable, ready: Watched):
    worker, job = work(), ask()

    def leave() -> None:
        worker.bell.stopping = worker.bell.hurry = True
        worker.leash.kill()

    ready.when["mapping"] = leave
    assert worker.run_next()
    now = jobs.get(engine, job.id)
    assert (now.status, now.lost) == ("accepted", 0)
    with pytest.raises(StoreError):
        worker.results.entry(now, "map.tif")
