"Server-sent events: each change once, however many read, and nothing that waits holds a thread or a connection."

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import asked
import httpx
import pytest
import service
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from serving.api import changes
from serving.api.changes import Changes
from serving.jobs import jobs, users
from serving.jobs.errors import DatabaseUnavailable
from serving.jobs.jobs import Job
from serving.jobs.users import User


def beat(engine: Engine, job: Job, progress: int) -> None:
    assert jobs.beat(engine, job, "worker", lease_s=60, progress=progress, message=f"{progress} of 100")


@pytest.fixture
def waiting(site: Any) -> Iterator[Job]:
    job = asked.job(site.engine, site.user)
    yield job
    if not jobs.get(site.engine, job.id).ended:
        jobs.dismiss(site.engine, job.id, site.user)


def test_a_job_is_followed_to_its_end(site: Any, waiting: Job):
    seen: list[dict[str, Any]] = []
    with httpx.Client(base_url=site.live.url, headers=site.headers) as web:
        with web.stream("GET", f"/jobs/{waiting.id}/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            events = service.streamed(answer.iter_lines())
            seen.append(next(events))
            claimed = jobs.claim(site.engine, "worker", 60)
            assert claimed and claimed.id == waiting.id
            seen.append(next(events))
            for progress in (10, 90):
                beat(site.engine, claimed, progress)
                seen.append(next(events))
            jobs.dismiss(site.engine, waiting.id, site.user)
            seen += list(events)  # ends by itself
        assert [(e["status"], e["progress"]) for e in seen] == [
            ("accepted", 0), ("running", 0), ("running", 10), ("running", 90), ("dismissed", 90),
        ]  # fmt: skip
        assert seen[-1] == web.get(f"/jobs/{waiting.id}").json()
        with web.stream("GET", f"/jobs/{waiting.id}/events") as answer:  # of a job that has ended
            assert list(service.streamed(answer.iter_lines())) == seen[-1:]


def test_two_hundred_readers_cost_one_question_and_leave_the_service_quick(site: Any, waiting: Job):
    claimed = jobs.claim(site.engine, "worker", 60)
    assert claimed and claimed.id == waiting.id
    last: list[dict[str, Any]] = []
    most_threads = 0

    async def read(web: httpx.AsyncClient, ready: anyio.Semaphore) -> None:
        async with web.stream("GET", f"/jobs/{waiting.id}/events") as answer:
            told = None
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    if told is None:
                        ready.release()
                    told = json.loads(line.removeprefix("data: "))
            last.append(told)

    async def all_of_them() -> None:
        nonlocal most_threads
        ready = anyio.Semaphore(0)
        limits = httpx.Limits(max_connections=None)
        async with (
            httpx.AsyncClient(base_url=site.live.url, headers=site.headers, limits=limits, timeout=60) as web,
            anyio.create_task_group() as group,
        ):
            for _ in range(200):
                group.start_soon(read, web, ready)
            for _ in range(200):
                await ready.acquire()
            took = []
            for progress in range(10, 60, 10):
                beat(site.engine, claimed, progress)
                began = time.monotonic()
                assert (await web.get(f"/jobs/{waiting.id}")).status_code == 200
                took.append(time.monotonic() - began)
            status = (await anyio.Path(f"/proc/{site.live.process.pid}/status").read_text()).split("Threads:")[1]
            most_threads = int(status.split()[0])
            assert sorted(took)[2] < 5, took  # of a machine that others use as well
            jobs.dismiss(site.engine, waiting.id, site.user)

    anyio.run(all_of_them)
    assert len(last) == 200 and all(event["status"] == "dismissed" for event in last)
    assert most_threads < 80  # not one for each


async def collect(changes: Changes, job: Job, told: list[Any]) -> None:
    async for event in changes.follow(job):
        told.append(event)


def test_readers_share_their_questions(engine: Engine, user: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "EVERY_S", 0.02)
    asked_for: list[list[str]] = []
    several = jobs.several
    monkeypatch.setattr(jobs, "several", lambda engine, ids: asked_for.append(ids) or several(engine, ids))
    mine = [asked.job(engine, user) for _ in range(3)]
    told: list[list[Any]] = [[] for _ in range(30)]
    feed = Changes(engine, lambda job: job.status.encode())

    async def run() -> None:
        async with anyio.create_task_group() as group:
            for number, events in enumerate(told):
                group.start_soon(collect, feed, mine[number % 3], events)
            while not asked_for:
                await anyio.sleep(0.01)
            for job in mine:
                jobs.dismiss(engine, job.id, user)

    anyio.run(run)
    assert all(events == [b"accepted", b"dismissed"] for events in told)
    assert len(asked_for) < 20 and set(asked_for[0]) == {job.id for job in mine}


def test_silence_is_broken_and_a_database_that_is_away_is_waited_for(
    engine: Engine, user: User, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(changes, "EVERY_S", 0.02)
    monkeypatch.setattr(changes, "SILENCE_S", 0.1)
    several, away = jobs.several, threading.Event()

    def sometimes(engine: Engine, ids: list[str]) -> list[Job]:
        if away.is_set():
            raise DatabaseUnavailable("Database", found="nothing", expected="an answer", remedy="Wait.")
        return several(engine, ids)

    monkeypatch.setattr(jobs, "several", sometimes)
    job, told = asked.job(engine, user), []
    feed = Changes(engine, lambda job: job.status.encode())

    async def run() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(collect, feed, job, told)
            away.set()
            jobs.dismiss(engine, job.id, user)
            while None not in told:
                await anyio.sleep(0.01)
            away.clear()

    anyio.run(run)
    assert told[0] == b"accepted" and told[-1] == b"dismissed" and set(told[1:-1]) == {None}


def test_streams_end_with_their_process(engine: Engine, user: User):
    feed, told = Changes(engine, lambda job: job.status.encode()), []
    job = asked.job(engine, user)

    async def run() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(collect, feed, job, told)
            while not told:
                await anyio.sleep(0.01)
            feed.close()

    anyio.run(run)
    assert told == [b"accepted"]


def test_there_are_only_so_many_streams(
    client: TestClient, tendai: dict[str, str], engine: Engine, user: User, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(changes, "READERS", 0)
    answer = client.get(f"/jobs/{asked.job(engine, user).id}/events", headers=tendai)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"


def test_a_status_is_told_from_what_was_heard_and_is_never_old(
    client: TestClient,
    tendai: dict[str, str],
    root: dict[str, str],
    engine: Engine,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
):
    "Many questions, few queries; changes show, those made here at once; nobody else's job is told."
    monkeypatch.setattr(changes, "FRESH_S", 60)  # however long twenty requests take
    queries: list[str] = []
    get = jobs.get
    monkeypatch.setattr(jobs, "get", lambda engine, id, user=None: queries.append(id) or get(engine, id, user))
    mine, theirs = asked.job(engine, user), asked.job(engine, users.get(engine, "root"))  # type: ignore[arg-type]

    def status(headers: dict[str, str] = tendai, id: str = mine.id) -> Any:
        return client.get(f"/jobs/{id}", headers=headers).json()["status"]

    assert {status() for _ in range(20)} == {"accepted"} and len(queries) == 1
    claimed = jobs.claim(engine, "worker", 60)
    assert claimed and claimed.id == mine.id
    began = time.monotonic()
    while status() != "running":
        assert time.monotonic() - began < 30
        time.sleep(0.02)
    assert client.delete(f"/jobs/{mine.id}", headers=tendai).json()["status"] == "dismissed"
    assert status() == "dismissed"
    assert status(root, theirs.id) == "accepted"  # remembered now
    assert status(tendai, theirs.id) == 404


def test_a_status_that_may_be_old_is_asked_for(
    client: TestClient, tendai: dict[str, str], engine: Engine, user: User, monkeypatch: pytest.MonkeyPatch
):
    "While the task hears nothing, the database itself is asked."
    monkeypatch.setattr(changes, "EVERY_S", 60)
    monkeypatch.setattr(changes, "FRESH_S", 0.05)
    job = asked.job(engine, user)
    assert client.get(f"/jobs/{job.id}", headers=tendai).json()["status"] == "accepted"
    assert jobs.claim(engine, "worker", 60)
    time.sleep(0.06)
    assert client.get(f"/jobs/{job.id}", headers=tendai).json()["status"] == "running"


def test_those_whom_nobody_asks_for_are_forgotten(engine: Engine, user: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "EVERY_S", 0.01)
    monkeypatch.setattr(changes, "WANTED_S", 0.05)
    monkeypatch.setattr(changes, "MOST", 2)
    feed = Changes(engine, lambda job: job.id.encode())
    some = [asked.job(engine, user) for _ in range(3)]

    async def run() -> None:
        assert [feed.keep(job).told() for job in some] == [job.id.encode() for job in some]
        assert [feed.known(job.id) is not None for job in some] == [True, True, False]
        assert feed._task
        with anyio.fail_after(60):
            await feed._task
        assert not feed._watched

    anyio.run(run)
