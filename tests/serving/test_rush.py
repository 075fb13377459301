"Many at once: nothing is counted twice, handed out twice or refused because somebody else is writing."

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import asked
import pytest
import rush
from sqlalchemy import Engine

from geocrop import settings
from serving.jobs import database, jobs, tables, users
from serving.jobs.errors import QueueFull, QuotaExceeded
from serving.jobs.users import User

LIMITS = settings.Jobs()


@pytest.fixture(scope="module")
def four() -> Iterator[ProcessPoolExecutor]:
    "Four processes."
    with rush.processes(4) as pool:
        yield pool


@pytest.fixture(params=["threads", "processes"])
def forty(request: pytest.FixtureRequest, engine: Engine) -> Callable[[Callable], list]:
    "Forty who do something at once: what each of them got, or met."
    if request.param == "threads":
        return lambda work: rush.threads(40, lambda index: work(engine, index))
    pool = request.getfixturevalue("four")
    return lambda work: rush.in_processes(pool, 4, 10, work, address(engine))


def address(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def test_forty_submissions_leave_a_recruiter_with_five_jobs(engine: Engine, user: User, forty: Callable):
    answers = forty(rush.submit)
    refused = [answer for answer in answers if isinstance(answer, QuotaExceeded)]
    accepted = [answer for answer in answers if isinstance(answer, str)]
    assert (len(accepted), len(refused)) == (LIMITS.recruiter_jobs, 40 - LIMITS.recruiter_jobs)
    assert {job.id for job in jobs.listed(engine, user, limit=100)} == set(accepted)


@pytest.mark.parametrize("waiting", [10, 60], ids=["nearly full from the first", "nearly full after a while"])
def test_forty_who_submit_at_once_leave_the_queue_no_longer_than_it_may_be(
    engine: Engine, waiting: int, monkeypatch: pytest.MonkeyPatch
):
    "Administrators, who take turns only then, among recruiters, who always do."
    monkeypatch.setattr(jobs, "AT_ONCE", 40)
    limits = replace(LIMITS, waiting=waiting, recruiter_jobs=3)
    roles = [tables.ROLES[number % 2] for number in range(40)]
    everybody = [users.add(engine, f"user-{number}", "correct horse", role) for number, role in enumerate(roles)]

    def submit(index: int) -> int:
        accepted = 0
        for _ in range(3):
            with suppress(QueueFull):
                accepted += bool(asked.job(engine, everybody[index], limits=limits))
        return accepted

    assert sum(rush.threads(40, submit)) == waiting
    assert jobs.counts(engine)["accepted"] == waiting


def test_the_same_key_forty_times_is_one_job(engine: Engine, user: User, forty: Callable):
    assert len(set(forty(rush.submit_with_key))) == 1
    assert len(jobs.listed(engine, user, limit=100)) == 1


def test_an_administrator_s_key_forty_times_is_one_job(engine: Engine, admin: User):
    "Administrators do not take turns."
    assert len({job.id for job in rush.threads(40, lambda _: asked.job(engine, admin, key="the same"))}) == 1
    assert len(jobs.listed(engine, admin, limit=100)) == 1


def test_eight_workers_never_take_the_same_job(engine: Engine, admin: User):
    every = {asked.job(engine, admin).id for _ in range(60)}
    taken = [job for found in rush.threads(8, lambda index: rush.take_all(engine, index)) for job in found]
    assert len(taken) == 60 and {id for id, _ in taken} == every
    assert {attempt for _, attempt in taken} == {1}


def test_sixteen_writers_of_four_processes_disturb_nobody(engine: Engine, admin: User, four: ProcessPoolExecutor):
    every = sorted(asked.job(engine, admin).id for _ in range(60))
    done = rush.in_processes(four, 4, 4, rush.work_off, address(engine))
    assert sorted(id for found in done for id in found) == every  # a list each: nobody met an error
    assert jobs.counts(engine)["successful"] == 60


def test_claims_and_dismissals_at_once_leave_no_job_in_between(engine: Engine, admin: User):
    every = [asked.job(engine, admin).id for _ in range(30)]

    def take_or_dismiss(index: int) -> list:
        if index % 2:
            return rush.take_all(engine, index)
        return [jobs.dismiss(engine, id, admin) for id in every[index // 2 :: 4]]

    rush.threads(8, take_or_dismiss)
    counts = jobs.counts(engine)
    assert (counts["dismissed"], counts["accepted"], counts["running"]) == (30, 0, 0)


def test_lost_jobs_are_found_once_by_eight_reconcilers(engine: Engine, admin: User):
    for _ in range(30):
        asked.job(engine, admin)
        jobs.claim(engine, "lost", -1)
    found = rush.threads(8, lambda _: jobs.reconcile(engine, LIMITS).retried)
    assert sorted(id for ids in found for id in ids) == sorted(job.id for job in jobs.listed(engine, admin, limit=99))
    assert {job.lost for job in jobs.listed(engine, admin, limit=99)} == {1}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_several_processes_may_be_the_first(
    kind: str, four: ProcessPoolExecutor, tmp_path: Path, request: pytest.FixtureRequest
):
    url = f"sqlite:///{tmp_path}/new/service.db" if kind == "sqlite" else request.getfixturevalue("bare_postgres_url")
    assert rush.in_processes(four, 4, 2, rush.upgrade, url) == [None] * 8
    engine = database.connect(url)
    assert users.listed(engine) == []
    engine.dispose()
