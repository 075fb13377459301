"How the service tells how it is; and what goes on when a part of it does not."

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asked
import pytest
import redis_server
import service
from fastapi.testclient import TestClient
from loopback import free_ports
from sqlalchemy import Engine, text

from serving.api import health, reconciler
from serving.api.app import create_app
from serving.jobs import database, jobs, queue, users, workers
from serving.jobs.errors import DatabaseUnavailable
from serving.jobs.users import User


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_url")


@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
def test_all_is_well_and_what_is_missing_is_named(client: TestClient, engine: Engine):
    page = client.get("/system").json()
    states = {name: part["state"] for name, part in page["services"].items()}
    assert states == {
        "api": "ok",
        "database": "ok",
        "queue": "off",
        "store": "ok",
        "workers": "away",
        "answers": "away",
    }
    assert page["degraded"] and client.get("/readyz").status_code == 200  # ready, and says what is missing
    workers.seen(engine, "worker")
    time.sleep(1.1)  # an answer is good for a second
    told = client.get("/readyz").json()["services"]["workers"]
    assert told.pop("ms") >= 0 and told == {"state": "ok", "alive": 1}


def test_many_who_ask_cost_one_question(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "FRESH_S", 60)  # however long twenty requests take
    asked_for = []
    now = database.now
    monkeypatch.setattr(database, "now", lambda conn: asked_for.append(1) or now(conn))
    pages = [client.get("/system").json() for _ in range(20)]
    assert len(asked_for) == 1 and all(page == pages[0] for page in pages)


def test_a_database_that_is_away_is_told_and_come_back_from(project: service.Project, user: User, tmp_path: Path):
    "A file that is no database, and then is one again."
    path = Path(project.environment["GEOCROP_DATABASE_URL"].removeprefix("sqlite:///"))
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        headers = service.signed_in(client, user.name, "correct horse")
        assert client.get("/readyz").status_code == 200
        kept = tmp_path / "kept"
        kept.mkdir()
        for file in path.parent.glob(f"{path.name}*"):
            file.rename(kept / file.name)
        path.mkdir()  # cannot be opened
        client.app.state.service.engine.dispose()
        time.sleep(1.1)
        answer = client.get("/readyz")
        assert answer.status_code == 503 and answer.json()["services"]["database"] == {"state": "away"}
        assert answer.headers["content-type"] == "application/problem+json" and answer.headers["retry-after"]
        assert client.get("/healthz").json() == {"status": "ok"}
        time.sleep(1.1)  # the user is no longer remembered
        for path_ in ("/jobs", "/auth/me"):
            answer = client.get(path_, headers=headers)
            assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
            assert str(path) not in answer.text
        assert "geocrop_database_up 0.0" in client.get("/metrics").text
        path.rmdir()
        for file in kept.iterdir():
            file.rename(path.parent / file.name)
        assert client.get("/jobs", headers=headers).status_code == 200
        time.sleep(1.1)
        assert client.get("/readyz").status_code == 200


def test_redis_away_is_degraded_and_ready(project: service.Project, monkeypatch: pytest.MonkeyPatch, redis_url: str):
    for url, state in ((redis_url, "ok"), ("redis://127.0.0.1:9/0", "away")):
        monkeypatch.setenv("GEOCROP_REDIS_URL", url)
        with TestClient(create_app()) as client:
            answer = client.get("/readyz")
            assert answer.status_code == 200 and answer.json()["services"]["queue"]["state"] == state


def test_requests_are_counted_by_route_and_never_by_path(
    client: TestClient, tendai: dict[str, str], engine: Engine, user: User
):
    ids = [asked.job(engine, user).id for _ in range(3)]
    for id in ids:
        client.get(f"/jobs/{id}", headers=tendai)
    for number in range(5):
        client.get(f"/nowhere/{number}")
    told = client.get("/metrics").text
    assert 'geocrop_request_seconds_count{method="GET",route="/jobs/{id}",status="200"} 3.0' in told
    assert 'route="(none)",status="404"} 5.0' in told
    assert not any(id in told for id in ids) and "nowhere" not in told
    assert 'geocrop_jobs{status="accepted"} 3.0' in told and "geocrop_database_up 1.0" in told
    assert float(re.search(r"geocrop_queue_age_seconds ([\d.e+-]+)", told)[1]) > 0  # type: ignore[index]
    assert "process_resident_memory_bytes" in told


@pytest.fixture
def hasty(project: service.Project, monkeypatch: pytest.MonkeyPatch) -> None:
    "A service that looks often, and gives a worker little time."
    monkeypatch.setenv("GEOCROP_JOBS_RECONCILE_S", "0.1")
    monkeypatch.setenv("GEOCROP_JOBS_LEASE_S", "1")


def until(what: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
def test_a_job_whose_worker_is_lost_waits_again(
    hasty: None, client: TestClient, tendai: dict[str, str], engine: Engine, user: User
):
    job = asked.job(engine, user)
    assert jobs.claim(engine, "worker", 0.2)
    until(lambda: client.get(f"/jobs/{job.id}", headers=tendai).json()["status"] == "accepted")


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[str]:
    if redis_server.binary() is None:
        pytest.skip("no Redis: apt-get install redis-server")
    with redis_server.redis(tmp_path, free_ports(1)[0]) as url:
        yield url


def test_a_queue_that_forgets_everything_is_told_again(
    hasty: None, project: service.Project, engine: Engine, user: User, monkeypatch: pytest.MonkeyPatch, own_redis: str
):
    monkeypatch.setenv("GEOCROP_REDIS_URL", own_redis)
    with TestClient(create_app()):
        asked.job(engine, user)  # nobody was called
        until(lambda: queue.queue(own_redis).count)
        queue.queue(own_redis).connection.flushall()
        until(lambda: queue.queue(own_redis).count)


def test_the_reconciler_outlives_a_database_that_is_away(
    hasty: None, project: service.Project, monkeypatch: pytest.MonkeyPatch
):
    calls: list[str] = []
    done = threading.Event()
    reconcile = jobs.reconcile

    def sometimes(*args: Any) -> Any:
        calls.append("")
        if len(calls) == 1:
            raise DatabaseUnavailable("Database", found="nothing", expected="an answer", remedy="Wait.")
        if len(calls) == 2:
            raise RuntimeError("what nobody foresaw")
        done.set()
        return reconcile(*args)

    monkeypatch.setattr(reconciler.jobs, "reconcile", sometimes)
    with TestClient(create_app()):
        assert done.wait(60)
    assert not [thread for thread in threading.enumerate() if thread.name == "reconciler"]  # and ends with its process


def test_postgres_away_and_back(postgres_url: str, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    "Connections that the server broke are replaced without the client knowing."
    made = service.project(tmp_path / "project", postgres_url, shelf)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    engine = database.connect(postgres_url)
    user = users.add(engine, "tendai", "correct horse", "recruiter")
    with TestClient(create_app()) as client:
        headers = service.signed_in(client, user.name, "correct horse")
        with engine.connect() as conn:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            conn.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
        assert client.get("/jobs", headers=headers).status_code == 200
    engine.dispose()
