"Servers that are away for a while."

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import audit
import pytest
import sqlalchemy as sa
from deployed import Client, Deployed, until
from ground import Ground

HERE = (31.06, -17.84, 100.0)
on_servers = pytest.mark.parametrize("ground", ["stack"], indirect=True, scope="session")  # SQLite's has none
PATIENCE_S = 3.0  # a submission may take so long where Redis hangs instead of refusing


@on_servers
def test_maps_are_made_without_redis(service: Deployed, admin: Client, ground: Ground, did: Callable[[str], None]):
    "Redis away: maps can be asked for and are made, /readyz says degraded; all is well when it returns"
    assert ground.redis
    until(lambda: not ready(admin)["degraded"], 60, "the service is not well to begin with")
    ground.redis.off()
    try:
        began = time.monotonic()
        answers = [admin.submit(HERE) for _ in range(4)]
        took_s = time.monotonic() - began
        assert [answer.status_code for answer in answers] == [201] * 4 and took_s < 4 * PATIENCE_S
        told = until(lambda: (now := ready(admin))["degraded"] and now, 30, "nobody notices that Redis is away")
        assert told["services"]["queue"]["state"] == "away"
        meanwhile = [admin.ended(answer.json()["jobID"])["status"] for answer in answers]
        assert meanwhile == ["successful"] * 4  # workers look for themselves
        last = admin.submit(HERE).json()["jobID"]
    finally:
        ground.redis.on()
    assert admin.ended(last)["status"] == "successful"
    until(lambda: not ready(admin)["degraded"], 30, "nobody notices that Redis is back")
    assert admin.ended(admin.submit(HERE).json()["jobID"])["status"] == "successful"
    did(f"Redis off: 4 of 4 accepted ({took_s / 4:.2f} s each) and made meanwhile; on again: 2 more")


def ready(admin: Client) -> dict[str, Any]:
    "What /readyz says: it is ready all the same."
    answer = admin.http.get("/readyz")
    assert answer.status_code == 200
    return answer.json()


def test_maps_are_made_without_quotes(service: Deployed, admin: Client, did: Callable[[str], None]):
    "the side that answers quotes is killed: 503 with Retry-After, jobs go on; it is started again and answers"
    quote = lambda: admin.http.post("/processes/crop-map/quote", json={"inputs": {"aoi": HERE, "year": 2022}})  # noqa: E731
    until(lambda: quote().status_code == 200, 60, "no quote to begin with", 0.2)
    service.answers.send(signal.SIGKILL)
    refused = until(lambda: (answer := quote()).status_code == 503 and answer, 30, "it was not missed", 0.01)
    assert refused.headers["Retry-After"] and refused.headers["Content-Type"] == "application/problem+json"
    assert admin.ended(admin.submit(HERE).json()["jobID"])["status"] == "successful"
    until(lambda: quote().status_code == 200, 60, "no quote again", 0.2)
    did("SIGKILL: 503 meanwhile, a job made meanwhile, quotes again")


@contextlib.contextmanager
def outage(ground: Ground, engine: sa.Engine) -> Iterator[None]:
    "PostgreSQL is shut down and started again; SQLite is locked by somebody else."
    if ground.database:
        ground.database.off()
        yield
        ground.database.on()
        return
    with engine.connect().execution_options(writes=True) as conn, conn.begin():
        yield


def test_the_database_may_be_away(service: Deployed, admin: Client, ground: Ground, did: Callable[[str], None]):
    "the database restarts amid jobs and requests: each request is answered or told to come again, no job is lost"
    audit_begun(service)
    first = [admin.submit(HERE).json()["jobID"] for _ in range(6)]
    answers: Counter[int] = Counter()
    wrong: list[str] = []
    over = threading.Event()

    def ask(number: int) -> None:
        while not over.is_set():
            answer = (
                admin.submit(HERE, key=f"outage {number}")
                if number % 2
                else admin.http.get(f"/jobs/{first[number % len(first)]}")
            )
            answers[answer.status_code] += 1
            polite = answer.status_code == 503 and answer.headers.get("Retry-After")
            if answer.status_code not in (200, 201) and not polite:
                wrong.append(f"{answer.status_code} {answer.text[:300]}")
            time.sleep(0.02)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        with outage(ground, service.engine):
            time.sleep(1.5)
        time.sleep(1)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not wrong
    keyed = {admin.insist(lambda n=n: admin.submit(HERE, key=f"outage {n}")).json()["jobID"] for n in (1, 3)}
    ids = [*first, *keyed]
    assert {admin.ended(id)["status"] for id in ids} == {"successful"}
    lives = audit.lives(service.engine)
    assert [lives[id].published for id in ids] == [1] * len(ids)
    assert not any(life.after_the_end for life in lives.values())
    told = ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))
    did(f"{'restart of PostgreSQL' if ground.database else 'lock on SQLite'}: {told}; {len(ids)} jobs published once")


def audit_begun(service: Deployed) -> None:
    if not sa.inspect(service.engine).has_table("audit"):
        audit.begin(service.engine)
