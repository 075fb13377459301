"Workers that die, are told to end, crash, or have no room."

import contextlib
import os
import signal
import time
from collections.abc import Callable

import pytest
from deployed import QUICK, Client, Deployed, until
from ground import Ground
from thin_season import spoiled

from serving.jobs.jobs import Job

HERE, WIDE = (31.06, -17.84, 100.0), (31.05, -17.83, 2000.0)
NORTH_WEST = (31.035, -17.815, 100.0)
WORKER_POLLS_S = 0.5  # serving.worker.wake.POLL_S: how often a worker that nobody calls looks for itself
LIMITS = f"lease {QUICK['lease_s']}, reconcile {QUICK['reconcile_s']}"
SLACK_S = 10.0  # of this test and a busy machine; without the promise it would be for ever


def test_a_lost_worker_s_job_runs_again(service: Deployed, admin: Client, did: Callable[[str], None]):
    "a lost worker's job runs again within lease + reconcile interval (+ 0.5 s where workers look for themselves)"
    caught = service.caught(admin, WIDE)
    first = service.row(caught.id)
    caught.worker.send(signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: service.row(caught.id).attempt > first.attempt, 30, "nobody takes the job again", 0.01)
    took_s = time.monotonic() - killed
    limit_s = QUICK["lease_s"] + QUICK["reconcile_s"] + WORKER_POLLS_S
    assert QUICK["lease_s"] - 2 * QUICK["heartbeat_s"] < took_s < limit_s + SLACK_S
    assert admin.ended(caught.id)["status"] == "successful"
    did(f"SIGKILL of a worker amid a job: again after {took_s:.1f} s ({LIMITS})")


def test_a_worker_that_is_told_to_end_finishes_its_job(service: Deployed, admin: Client, did: Callable[[str], None]):
    "SIGTERM drains: the job in hand is finished in its first attempt, no other is taken, exit status 0"
    caught = service.caught(admin, WIDE)
    others = [admin.submit(HERE).json()["jobID"] for _ in range(3)]
    name = service.row(caught.id).lease_owner
    caught.worker.let_go(signal.SIGTERM)
    time.sleep(0.5)
    caught.send(signal.SIGCONT)
    assert caught.worker.end() == 0
    job = admin.ended(caught.id)
    assert (job["status"], job["attempt"]) == ("successful", 1)
    ends = [admin.ended(id) for id in others]
    assert [(end["status"], end["attempt"]) for end in ends] == [("successful", 1)] * 3
    assert name not in {service.row(id).lease_owner for id in others}
    service.workers.remove(caught.worker)
    service.start_worker()
    did("SIGTERM amid a job while 3 wait: 4 successful in their first attempt, exit status 0")


def test_a_job_that_crashes_fails_alone(service: Deployed, admin: Client, did: Callable[[str], None]):
    "a job that crashes the process that makes it fails alone, its log kept, while others succeed"
    caught, crashes = service.caught(admin, WIDE), 0
    others = [admin.submit(HERE).json()["jobID"] for _ in range(4)]
    job = service.row(caught.id)
    while not job.ended:
        [runner] = service.holder(job).children()
        os.kill(runner, signal.SIGCONT)
        _begun(service, job)
        os.kill(runner, signal.SIGSEGV)
        crashes += 1
        job = _later(service, job)
    job = admin.job(caught.id)
    assert (job["status"], crashes) == ("failed", 3)
    assert "SIGSEGV" in job["problem"]["detail"]
    for attempt in (1, 2, 3):
        assert b"Segmentation fault" in service.results().log(service.row(caught.id), attempt)
    assert [admin.ended(id)["status"] for id in others] == ["successful"] * 4
    did(f"{crashes} SIGSEGVs of one job's process: failed, 3 logs kept; 4 others successful")


def _begun(service: Deployed, job: Job) -> None:
    "Wait until the log of an attempt has its first line."
    first = f"job {job.id}, attempt {job.attempt}:"

    def begun() -> bool:
        with contextlib.suppress(FileNotFoundError):  # of another job, which has just ended
            return any(first in log.read_text() for log in service.scratch.glob("geocrop-job-*/log.txt"))
        return False

    until(begun, 60, "the attempt does not begin", 0.002)


def _later(service: Deployed, job: Job) -> Job:
    "The job, once it has ended or somebody has taken it again."

    def later() -> Job | None:
        now = service.row(job.id)
        return now if now.ended or now.attempt > job.attempt else None

    return until(later, 60, "the crash is not noticed", 0.002)


def test_a_job_over_a_broken_scene_fails_alone(
    service: Deployed, admin: Client, ground: Ground, did: Callable[[str], None]
):
    "a job over a broken scene fails alone and says which scene, while others succeed"
    with spoiled(ground.catalogue) as scene:
        poisoned = admin.submit(NORTH_WEST).json()["jobID"]
        others = [admin.submit(HERE).json()["jobID"] for _ in range(4)]
        job = admin.ended(poisoned)
        assert job["status"] == "failed"
        assert scene in job["problem"]["detail"] and "B04" in job["problem"]["detail"]
        assert scene.encode() in service.results().log(service.row(poisoned), 1)
        assert [admin.ended(id)["status"] for id in others] == ["successful"] * 4
    assert admin.ended(admin.submit(NORTH_WEST).json()["jobID"])["status"] == "successful"
    did(f"band of {scene} broken over one job: failed in attempt {job['attempt']}, 4 others successful")


def test_a_full_disk_is_told_and_survived(service: Deployed, admin: Client, did: Callable[[str], None]):
    "a worker whose disk is full says so; it lives, and works again when there is room"
    if not os.path.ismount(service.scratch):
        pytest.skip("no small disc: mounting one needs root")
    before = [worker.pid for worker in service.workers]
    ballast = service.scratch / "ballast"
    room = os.statvfs(service.scratch)
    with ballast.open("wb") as file:
        file.write(b"\0" * (room.f_bavail * room.f_frsize - 8192))
    try:
        job = admin.ended(admin.submit(WIDE).json()["jobID"])
    finally:
        ballast.unlink()
    assert job["status"] == "failed"
    assert "disk" in job["problem"]["detail"] and "Free some" in job["problem"]["detail"]
    assert admin.ended(admin.submit(WIDE).json()["jobID"])["status"] == "successful"
    assert [worker.pid for worker in service.workers] == before
    did("8 KB left for a map: failed, with what to do; successful after there was room, in the same worker")
