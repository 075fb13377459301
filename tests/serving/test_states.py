"Any order of what users, workers and reconcilers may do leaves every job where a model of a few lines says."

from collections.abc import Callable
from dataclasses import dataclass, replace

import asked
import hypothesis
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine

from geocrop import settings
from serving.jobs import database, jobs, tables, users
from serving.jobs.errors import JobEnded, JobNotFound, KeyReused, QueueFull, QuotaExceeded
from serving.jobs.jobs import Job
from serving.jobs.users import User

LIMITS = replace(settings.Jobs(), recruiter_jobs=2, waiting=4, attempts=2)
LONG, OVER = 1000.0, -1.0  # leases: one that lasts, and one that is over when it begins
PLACES = ((31.0, -17.0, 500.0), (30.0, -18.0, 900.0))
leases = st.sampled_from([LONG, LONG, OVER])


@dataclass
class Known:
    "What the model knows of a job."

    user: User
    created: float
    status: str = "accepted"
    attempt: int = 0
    owner: str | None = None
    over: bool = False  # Whether its lease is
    lost: int = 0
    delayed: bool = False

    @property
    def counts(self) -> bool:
        return self.status != "failed" and not (self.status == "dismissed" and self.attempt == 0)

    def lose(self, *, delayed: bool = False) -> None:
        self.lost += 1
        self.status = "failed" if self.lost >= LIMITS.attempts else "accepted"
        self.delayed = delayed


def machine(engine: Engine, people: list[User]) -> type[RuleBasedStateMachine]:
    class Service(RuleBasedStateMachine):
        claims = Bundle("claims")

        def __init__(self) -> None:
            super().__init__()
            database.write(engine, lambda conn: conn.execute(sa.delete(tables.jobs)))
            self.known: dict[str, Known] = {}
            self.keys: dict[tuple[str, str], tuple[str, tuple]] = {}

        @initialize(user=st.sampled_from(people))
        def begin(self, user: User) -> None:
            for _ in range(2):
                job = asked.job(engine, user)
                self.known[job.id] = Known(user, job.created)

        def met(self, error: type[Exception] | None, work: Callable[[], Job]) -> Job | None:
            "What is to be refused is; the rest is done."
            try:
                job = work()
            except (QueueFull, QuotaExceeded, KeyReused, JobNotFound, JobEnded) as found:
                assert type(found) is error
                return None
            assert error is None
            return job

        @rule(user=st.sampled_from(people), place=st.sampled_from(PLACES), key=st.sampled_from([None, None, "a", "b"]))
        def submit(self, user: User, place: tuple, key: str | None) -> None:
            earlier = self.keys.get((user.name, key)) if key else None
            full = sum(job.status == "accepted" for job in self.known.values()) >= LIMITS.waiting
            had = sum(job.counts for job in self.known.values() if job.user == user)
            error: type[Exception] | None = None
            if earlier:
                error = None if earlier[1] == place else KeyReused
            elif full:
                error = QueueFull
            elif user.role == "recruiter" and had >= LIMITS.recruiter_jobs:
                error = QuotaExceeded
            job = self.met(error, lambda: asked.job(engine, user, place, key=key, limits=LIMITS))
            if job and earlier:
                assert job.id == earlier[0]
            elif job:
                self.known[job.id] = Known(user, job.created)
                if key:
                    self.keys[user.name, key] = job.id, place

        @rule(target=claims, worker=st.sampled_from(["w1", "w1", "w2"]), lease_s=leases)
        def claim(self, worker: str, lease_s: float):
            ready = [job for job in self.known.values() if job.status == "accepted" and not job.delayed]
            job = jobs.claim(engine, worker, lease_s)
            if not ready:
                assert job is None
                return multiple()
            known = self.known[job.id]
            assert known in ready and known.created == min(job.created for job in ready)
            known.status, known.attempt, known.owner = "running", known.attempt + 1, worker
            known.over = lease_s == OVER
            return job, worker

        def held(self, claim: tuple[Job, str]) -> bool:
            known = self.known[claim[0].id]
            return (known.status, known.attempt, known.owner) == ("running", claim[0].attempt, claim[1])

        @rule(
            claim=claims, act=st.sampled_from(["beat", "fall silent", "publish", "fail", "retry", "put off", "release"])
        )
        def work(self, claim: tuple[Job, str], act: str) -> None:
            known, held = self.known[claim[0].id], self.held(claim)
            if act in ("beat", "fall silent"):
                over = act == "fall silent"
                did = jobs.beat(engine, *claim, lease_s=OVER if over else LONG, progress=50, message="half")
                known.over = over if held else known.over
            elif act in ("publish", "fail"):
                how, status = {"publish": (jobs.publish, "successful"), "fail": (jobs.fail, "failed")}[act]
                again = (known.status, known.attempt, known.owner) == (status, claim[0].attempt, claim[1])
                did = how(engine, *claim, {"of": claim[0].attempt}) and not again  # by the same hand it is no harm
                known.status = status if held else known.status
            elif act == "release":
                did = jobs.release(engine, *claim)
                known.status = "accepted" if held else known.status
            else:
                did = jobs.retry(engine, *claim, {}, limits=LIMITS, delay_s=LONG if act == "put off" else 0.0)
                if held:
                    known.lose(delayed=act == "put off")
            assert did == held

        @rule(user=st.sampled_from(people), data=st.data())
        def dismiss(self, user: User, data: st.DataObject) -> None:
            if not self.known:
                return
            id = data.draw(st.sampled_from(list(self.known)))
            known, error = self.known[id], None
            if known.user != user and not user.admin:
                error = JobNotFound
            elif known.status in ("successful", "failed"):
                error = JobEnded
            if self.met(error, lambda: jobs.dismiss(engine, id, user)):
                known.status = "dismissed"

        @rule()
        def reconcile(self) -> None:
            silent = {id for id, job in self.known.items() if job.status == "running" and job.over}
            for id in silent:
                self.known[id].lose()
            failed = {id for id in silent if self.known[id].status == "failed"}
            found = jobs.reconcile(engine, LIMITS)
            assert (set(found.retried), set(found.failed)) == (silent - failed, failed)
            assert set(found.retried) <= set(found.wake)

        @invariant()
        def all_is_as_the_model_says(self) -> None:
            rows = {job.id: job for job in jobs.listed(engine, people[-1], limit=1000)}
            assert rows.keys() == self.known.keys()
            for id, known in self.known.items():
                row = rows[id]
                assert (row.status, row.attempt, row.lost) == (known.status, known.attempt, known.lost)
                assert row.ended == (row.finished is not None)
                assert (row.lease_until is not None) == (row.status == "running")
                assert (row.started is not None) == (row.attempt > 0)
                assert (row.result is not None) == (row.status == "successful")
            for user in people[:-1]:
                used = database.read(engine, lambda conn, user=user: users.used(conn, user))
                assert used == sum(job.counts for job in self.known.values() if job.user == user)
                assert used <= LIMITS.recruiter_jobs

    return Service


def test_every_order_of_events_ends_where_the_model_says(engine: Engine, user: User, admin: User):
    people = [user, users.add(engine, "rudo", "password of rudo", "recruiter"), admin]
    short = engine.dialect.name == "postgresql"
    how = hypothesis.settings(max_examples=15 if short else 40, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(machine(engine, people), settings=how)
