"Jobs from the question to the end, on both databases."

import time
from dataclasses import replace

import asked
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from geocrop import settings
from geocrop.schema import AOI, SchemaError, Season
from serving.jobs import database, jobs, tables, users, workers
from serving.jobs.errors import AttemptLost, JobEnded, JobNotFound, KeyReused, QueueFull, QuotaExceeded, described
from serving.jobs.jobs import Job
from serving.jobs.users import User

LIMITS = settings.Jobs()
ERROR = described(AttemptLost("The job", found="nobody", expected="somebody", remedy="Wait."))
OVER = -1.0  # a lease that is over when it begins


def claimed(engine: Engine, worker: str = "worker", lease_s: float = 30.0) -> Job:
    job = jobs.claim(engine, worker, lease_s)
    assert job is not None
    return job


def used(engine: Engine, user: User) -> int:
    return database.read(engine, lambda conn: users.used(conn, user))


# --- the way of a job ------------------------------------------------------------------------------------------------


def test_a_job_is_accepted_run_and_published(engine: Engine, user: User):
    job = asked.job(engine, user, (31.05, -17.83, 2000.0), 2021)
    assert (job.status, job.attempt, job.started, job.finished, job.ended) == ("accepted", 0, None, None, False)
    assert (job.inputs, job.year) == ({"aoi": [31.05, -17.83, 2000.0], "year": 2021, "model": "champion"}, 2021)
    assert job.area["coordinates"][0][0] == pytest.approx([31.05, -17.81201], abs=1e-5)
    assert (job.season, job.bundle) == (Season(2021), asked.MODEL)
    run = claimed(engine)
    assert (run.id, run.status, run.attempt, run.lease_owner) == (job.id, "running", 1, "worker")
    assert jobs.claim(engine, "another", 30) is None
    assert jobs.beat(engine, run, "worker", lease_s=30, progress=40, message="reading")
    seen = jobs.get(engine, job.id, user)
    assert (seen.progress, seen.message) == (40, "reading")
    assert jobs.publish(engine, run, "worker", {"files": {"map.tif": {"size": 1}}})
    done = jobs.get(engine, job.id, user)
    assert (done.status, done.progress, done.result) == ("successful", 100, {"files": {"map.tif": {"size": 1}}})
    assert done.created <= done.started <= done.finished == done.updated
    assert done.ended and done.error is None and done.lease_until is None


def test_a_season_that_ends_in_the_year_it_begins_comes_back_as_it_was(engine: Engine, user: User):
    winter = Season(2022, "04-15", "10-31")
    assert asked.job(engine, user, season=winter).season == winter


def test_the_oldest_job_is_taken_first(engine: Engine, admin: User):
    waiting = []
    for _ in range(4):
        waiting.append(asked.job(engine, admin).id)
        time.sleep(0.002)  # SQLite's clock has milliseconds
    assert [claimed(engine).id for _ in waiting] == waiting


def test_a_job_that_failed_says_why(engine: Engine, user: User):
    job = asked.job(engine, user)
    assert jobs.fail(engine, claimed(engine), "worker", ERROR)
    failed = jobs.get(engine, job.id)
    assert (failed.status, failed.error, failed.result) == ("failed", ERROR, None)


def test_an_error_is_kept_whatever_is_in_it(engine: Engine, user: User):
    job = asked.job(engine, user)
    assert jobs.fail(engine, claimed(engine), "worker", ERROR | {"thing": "ключ", "found": "a\0b\udc80"})
    kept = jobs.get(engine, job.id).error
    assert (kept["thing"], kept["found"], kept["remedy"]) == ("ключ", "a\0b?", ERROR["remedy"])


def test_an_unforeseen_error_tells_users_nothing_of_its_text():
    told = described(ValueError("secret of the machine"))
    assert told["kind"] == "ValueError"
    assert "secret" not in str(told)
    assert described(JobNotFound("A", found="b", expected="c", remedy="D."))["remedy"] == "D."


def test_a_message_is_kept_whatever_is_in_it(engine: Engine, user: User):
    asked.job(engine, user)
    run = claimed(engine)
    assert jobs.beat(engine, run, "worker", lease_s=30, progress=1000, message="a\0b\udc80" + "c" * 5000)
    seen = jobs.get(engine, run.id)
    assert seen.message.startswith("ab?ccc")
    assert (len(seen.message), seen.progress) == (jobs.MESSAGE_LENGTH, 100)


# --- leases and fences -----------------------------------------------------------------------------------------------


def test_a_worker_that_was_taken_for_lost_can_do_nothing_more(engine: Engine, user: User):
    asked.job(engine, user)
    late = claimed(engine, "late", OVER)
    assert jobs.reconcile(engine, LIMITS) == jobs.Reconciled((late.id,), (late.id,), ())
    new = claimed(engine, "new")
    assert (new.id, new.attempt, new.lost, new.started) == (late.id, 2, 1, late.started)
    assert not jobs.beat(engine, late, "late", lease_s=30, progress=50, message="")
    assert not jobs.publish(engine, late, "late", {"files": {}})
    assert not jobs.fail(engine, late, "late", ERROR)
    assert not jobs.retry(engine, late, "late", ERROR, limits=LIMITS)
    assert not jobs.release(engine, late, "late")
    assert jobs.get(engine, new.id) == new
    assert jobs.publish(engine, new, "new", {"files": {}})


def test_the_same_worker_is_fenced_off_from_its_own_earlier_attempt(engine: Engine, user: User):
    asked.job(engine, user)
    first = claimed(engine, "worker", OVER)
    jobs.reconcile(engine, LIMITS)
    second = claimed(engine, "worker")
    assert not jobs.publish(engine, first, "worker", {"of": "first"})
    assert jobs.publish(engine, second, "worker", {"of": "second"})
    assert not jobs.publish(engine, first, "worker", {"of": "first"})
    assert jobs.get(engine, second.id).result == {"of": "second"}


def test_a_late_worker_that_nobody_replaced_goes_on(engine: Engine, user: User):
    asked.job(engine, user)
    run = claimed(engine, "worker", OVER)
    assert jobs.beat(engine, run, "worker", lease_s=30, progress=1, message="")
    assert jobs.reconcile(engine, LIMITS) == jobs.Reconciled((), (), ())
    assert jobs.publish(engine, run, "worker", {})


def test_workers_that_are_lost_again_and_again_fail_the_job(engine: Engine, user: User):
    job = asked.job(engine, user)
    for attempt in range(1, LIMITS.attempts):
        assert claimed(engine, f"worker {attempt}", OVER).attempt == attempt
        assert jobs.reconcile(engine, LIMITS).retried == (job.id,)
        assert jobs.get(engine, job.id).status == "accepted"
    claimed(engine, "last", OVER)
    assert jobs.reconcile(engine, LIMITS) == jobs.Reconciled((), (), (job.id,))
    failed = jobs.get(engine, job.id)
    assert (failed.status, failed.lost, failed.error["kind"]) == ("failed", LIMITS.attempts, "AttemptLost")
    assert failed.finished and used(engine, user) == 0


def test_a_retry_counts_and_waits_as_long_as_it_is_told(engine: Engine, user: User):
    job = asked.job(engine, user)
    assert jobs.retry(engine, claimed(engine), "worker", ERROR, limits=LIMITS, delay_s=1000)
    assert jobs.claim(engine, "worker", 30) is None
    assert jobs.get(engine, job.id).lost == 1
    other = asked.job(engine, user)
    for _ in range(LIMITS.attempts):
        assert jobs.retry(engine, claimed(engine), "worker", ERROR, limits=LIMITS)
    failed = jobs.get(engine, other.id)
    assert (failed.status, failed.error) == ("failed", ERROR)


def test_a_job_that_is_given_back_is_not_held_against_it(engine: Engine, user: User):
    job = asked.job(engine, user)
    for attempt in range(1, LIMITS.attempts + 3):
        run = claimed(engine, "worker")
        assert (run.id, run.attempt) == (job.id, attempt)  # the fence moves all the same
        assert jobs.release(engine, run, "worker")
    assert (jobs.get(engine, job.id).status, jobs.get(engine, job.id).lost) == ("accepted", 0)


def test_the_clock_of_a_worker_is_not_asked(engine: Engine, user: User, monkeypatch: pytest.MonkeyPatch):
    asked.job(engine, user)
    here = time.time()
    monkeypatch.setattr(time, "time", lambda: here + 86_400)
    run = claimed(engine, "worker", 30)
    assert abs(run.lease_until - here - 30) < 5
    assert jobs.reconcile(engine, LIMITS).retried == ()
    assert abs(database.read(engine, database.now) - here) < 5


def test_jobs_that_nobody_came_for_are_called_again(engine: Engine, user: User):
    job = asked.job(engine, user)
    assert jobs.reconcile(engine, LIMITS).wake == ()  # it has only just come
    assert jobs.reconcile(engine, replace(LIMITS, reconcile_s=0.0)).wake == (job.id,)
    claimed(engine)
    assert jobs.reconcile(engine, replace(LIMITS, reconcile_s=0.0)).wake == ()


# --- dismissal -------------------------------------------------------------------------------------------------------


def test_a_job_that_is_dismissed_while_it_runs_stops(engine: Engine, user: User):
    asked.job(engine, user)
    run = claimed(engine)
    assert jobs.dismiss(engine, run.id, user).status == "dismissed"
    assert not jobs.beat(engine, run, "worker", lease_s=30, progress=50, message="")
    assert not jobs.publish(engine, run, "worker", {})
    assert jobs.dismiss(engine, run.id, user).status == "dismissed"  # again is no harm
    assert jobs.get(engine, run.id).result is None


def test_what_has_ended_is_not_dismissed(engine: Engine, user: User):
    asked.job(engine, user), asked.job(engine, user)
    run, other = claimed(engine), claimed(engine)
    jobs.publish(engine, run, "worker", {})
    jobs.fail(engine, other, "worker", ERROR)
    for job in (run, other):
        before = jobs.get(engine, job.id)
        with pytest.raises(JobEnded):
            jobs.dismiss(engine, job.id, user)
        assert jobs.get(engine, job.id) == before


# --- who may see what ------------------------------------------------------------------------------------------------


def test_somebody_elses_job_is_not_there(engine: Engine, user: User, admin: User):
    other = users.add(engine, "other", "password of other", "recruiter")
    job = asked.job(engine, user)
    assert jobs.get(engine, job.id, admin) == jobs.get(engine, job.id) == job
    for question in (jobs.get, jobs.dismiss):
        with pytest.raises(JobNotFound):
            question(engine, job.id, other)
    with pytest.raises(JobNotFound):
        jobs.listed(engine, other, limit=10, after=job.id)
    assert jobs.listed(engine, other, limit=10) == []
    assert jobs.listed(engine, admin, limit=10) == [job]


@pytest.mark.parametrize("id", ["", "x" * 32, "A" * 32, "0" * 33, "0" * 32, "\0", "'; DROP TABLE jobs; --", "\udc80"])
def test_an_id_that_is_none_is_not_found(engine: Engine, user: User, id: str):
    with pytest.raises(JobNotFound):
        jobs.get(engine, id, user)


def test_pages_show_each_job_once_newest_first(engine: Engine, admin: User):
    every = {asked.job(engine, admin).id for _ in range(11)}
    dismissed = jobs.dismiss(engine, min(every), admin).id
    shown, after = [], None
    while page := jobs.listed(engine, admin, limit=3, after=after):
        shown += page
        after = page[-1].id
        asked.job(engine, admin)  # what comes meanwhile moves nothing
    assert {job.id for job in shown} == every and len(shown) == 11
    assert [job.created for job in shown] == sorted((job.created for job in shown), reverse=True)
    assert [job.id for job in jobs.listed(engine, admin, limit=9, status="dismissed")] == [dismissed]


def test_jobs_are_counted_by_status_and_timed(engine: Engine, admin: User):
    assert jobs.counts(engine) == dict.fromkeys(tables.STATUSES, 0)
    assert jobs.run_s(engine) is None
    for _ in range(3):
        asked.job(engine, admin)
    jobs.publish(engine, claimed(engine), "worker", {})
    claimed(engine)
    assert jobs.counts(engine) == {"accepted": 1, "running": 1, "successful": 1, "failed": 0, "dismissed": 0}
    assert 0 <= jobs.run_s(engine) < 30


def test_workers_are_known_as_long_as_they_are_heard_of(engine: Engine):
    for name in ("b", "a", "b"):
        workers.seen(engine, name)
    assert workers.alive(engine, 60) == ["a", "b"]
    workers.gone(engine, "a")
    assert workers.alive(engine, 60) == ["b"]
    assert workers.alive(engine, 0) == []


# --- limits ----------------------------------------------------------------------------------------------------------


def test_a_recruiter_has_five_jobs_in_all(engine: Engine, user: User):
    for _ in range(LIMITS.recruiter_jobs):
        asked.job(engine, user)
    with pytest.raises(QuotaExceeded, match="5 jobs; expected 5 in all for a recruiter"):
        asked.job(engine, user)
    first = claimed(engine)
    jobs.publish(engine, first, "worker", {})
    with pytest.raises(QuotaExceeded):  # one that succeeded counts
        asked.job(engine, user)
    second = claimed(engine)
    jobs.dismiss(engine, second.id, user)
    with pytest.raises(QuotaExceeded):  # so does one that was dismissed after it had begun
        asked.job(engine, user)
    jobs.fail(engine, claimed(engine), "worker", ERROR)
    asked.job(engine, user)  # one that failed does not
    waiting = jobs.listed(engine, user, limit=1, status="accepted")[0]
    jobs.dismiss(engine, waiting.id, user)
    asked.job(engine, user)  # nor one that was dismissed before it began
    assert used(engine, user) == 5


def test_a_job_that_was_given_back_and_dismissed_had_begun(engine: Engine, user: User):
    job = asked.job(engine, user)
    jobs.release(engine, claimed(engine), "worker")
    jobs.dismiss(engine, job.id, user)
    assert used(engine, user) == 1


def test_an_administrator_who_is_none_any_more_has_a_quota(engine: Engine, admin: User):
    "A token knows for two seconds what somebody was; the database knows what they are."
    with engine.connect().execution_options(writes=True) as conn, conn.begin():
        conn.execute(sa.update(tables.users).values(role="recruiter"))
    for _ in range(LIMITS.recruiter_jobs):
        asked.job(engine, admin)
    with pytest.raises(QuotaExceeded):
        asked.job(engine, admin)


def test_an_administrator_has_no_quota_but_the_queue_has_an_end(engine: Engine, admin: User):
    limits = replace(LIMITS, recruiter_jobs=1, waiting=3)
    for _ in range(3):
        asked.job(engine, admin, limits=limits)
    with pytest.raises(QueueFull, match="3 jobs that wait; expected fewer than 3") as full:
        asked.job(engine, admin, limits=limits)
    assert full.value.retry_after_s == jobs.PACE_S  # nothing has started lately
    for _ in range(2):
        claimed(engine)
    asked.job(engine, admin, limits=limits), asked.job(engine, admin, limits=limits)
    with pytest.raises(QueueFull) as full:
        asked.job(engine, admin, limits=limits)
    assert full.value.retry_after_s == jobs.PACE_S / 2


# --- idempotency -----------------------------------------------------------------------------------------------------


def test_a_key_brings_the_same_job_back_even_where_no_more_are_allowed(engine: Engine, user: User):
    job = asked.job(engine, user, key="k")
    for _ in range(4):
        asked.job(engine, user)
    assert asked.job(engine, user, key="k") == job
    jobs.claim(engine, "worker", 30)
    assert asked.job(engine, user, key="k").status == "running"
    with pytest.raises(KeyReused):
        asked.job(engine, user, (31.0, -17.0, 500.0), key="k")


def test_a_key_is_its_users_own(engine: Engine, user: User, admin: User):
    assert asked.job(engine, user, key="k").id != asked.job(engine, admin, key="k").id


@pytest.mark.parametrize("key", ["", "k" * 129, "a\0b", "ключ", "a\nb"])
def test_a_key_that_no_database_should_hold_is_refused(engine: Engine, user: User, key: str):
    with pytest.raises(SchemaError, match="Idempotency key"):
        asked.job(engine, user, key=key)


# --- areas -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ring",
    [
        [[31, -18], [32, -17], [32, -18], [31, -17], [31, -18]],  # a bow tie
        [[31, -18], [31, -18], [31, -18], [31, -18]],
        [[31, -18], [32, "x"], [32, -18], [31, -18]],
        [[31, -18], [float("nan"), -18], [32, -17], [31, -18]],
    ],
)
def test_an_area_that_is_none_is_refused(engine: Engine, user: User, ring: list):
    with pytest.raises(SchemaError):
        asked.job(engine, user, area={"type": "Polygon", "coordinates": [ring]})


def test_heights_are_left_out_and_parts_are_kept(engine: Engine, user: User):
    def square(west: float) -> list:
        return [[[west, -18, 1200], [west + 1, -18, 1200], [west + 1, -17, 1200], [west, -18, 1200]]]

    area = {"type": "MultiPolygon", "coordinates": [square(29), square(31)]}
    job = asked.job(engine, user, area=area)
    assert job.area["type"] == "MultiPolygon" and len(job.area["coordinates"]) == 2
    assert (job.west, job.south, job.east, job.north) == (29, -18, 32, -17)
    assert job.area["coordinates"][0][0][0] == [29, -18]


def test_a_disc_keeps_its_area(engine: Engine, user: User):
    assert asked.job(engine, user, area=AOI(31, -17, 500)).area == AOI(31, -17, 500).polygon()
