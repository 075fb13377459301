"A storm: processes of a service are killed at random while clients ask for maps, and Redis forgets everything."

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import audit
import sqlalchemy as sa
from deployed import Client, Deployed, until
from redis import Redis
from supervised import Program

from serving.jobs.tables import jobs

CLIENTS = 8  # each asks for a map, waits for it, and asks for the next
SEED = 20220901
MOMENT_S = 0.3  # a blow falls so long after a worker was seen at work: a map takes about as long
PATIENCE_S = 240


@dataclass
class Toll:
    "What came of a storm."

    jobs: list[dict[str, Any]] = field(default_factory=list)  # Status of each job that was accepted, at its end
    blows: Counter[str] = field(default_factory=Counter)  # api, worker, runner, flush -> how many fell


def weather(
    service: Deployed,
    client: Client,
    aois: Sequence[tuple[float, float, float]],  # A job for each
    kills: int,  # Of the API, of workers and of their runners, as many of each
    flushes: int,
) -> Toll:
    "Ask for maps until all have come to their end, in a storm that lasts nearly as long as they do."
    toll, rng = Toll(), random.Random(SEED)
    blows = ["flush"] * flushes + [("worker", "runner", "api")[k % 3] for k in range(kills)]
    rng.shuffle(blows)

    def ask(index: int) -> None:
        answer = client.insist(lambda: client.submit(aois[index], key=f"storm {index}"), PATIENCE_S)
        assert answer.status_code == 201, answer.text
        toll.jobs.append(client.ended(answer.json()["jobID"], PATIENCE_S))

    with ThreadPoolExecutor(CLIENTS) as pool:
        under_way = [pool.submit(ask, index) for index in range(len(aois))]
        for number, blow in enumerate(blows):
            due = number * (len(aois) - CLIENTS) // len(blows)  # ends of jobs before this blow falls
            until(lambda due=due: len(toll.jobs) >= due, PATIENCE_S, f"only {len(toll.jobs)} jobs came to an end")
            strike(service, blow, rng)
            toll.blows[blow] += 1
        for future in under_way:
            future.result()
    return toll


def strike(service: Deployed, blow: str, rng: random.Random) -> None:
    "Let a blow fall, at a random moment of a job; workers and runners are hit that have one."
    busy = until(lambda: _busy(service), PATIENCE_S, "nobody works", 0.002)
    time.sleep(rng.uniform(0, MOMENT_S))
    with contextlib.suppress(ProcessLookupError, IndexError):  # of somebody who was hit already
        if blow == "flush":
            with Redis.from_url(service.place.settings["redis"]["url"]) as redis:
                redis.flushall()
        elif blow == "api":
            service.api.send(signal.SIGKILL)
        elif blow == "worker":
            busy[0].send(signal.SIGKILL)
        else:
            os.kill(busy[0].children()[0], signal.SIGKILL)


def _busy(service: Deployed) -> list[Program]:
    "Workers that have a job."
    with service.engine.connect() as conn:
        holders = conn.scalars(sa.select(jobs.c.lease_owner).where(jobs.c.status == "running")).all()
    return [worker for worker in service.workers if any(f"-{worker.pid}-" in holder for holder in holders)]


def lives(service: Deployed, toll: Toll) -> list[audit.Life]:
    "What the database has written down about each job."
    written = audit.lives(service.engine)
    return [written[job["jobID"]] for job in toll.jobs]
