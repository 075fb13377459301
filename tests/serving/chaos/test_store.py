"A store that refuses, is slow, or lies."

import hashlib
from collections.abc import Callable

import pytest
from deployed import Client, Deployed
from ground import Ground

HERE = (31.06, -17.84, 100.0)
pytestmark = pytest.mark.parametrize("ground", ["stack"], indirect=True, scope="session")  # folders are another matter


@pytest.mark.parametrize(
    ("fault", "times", "attempts"),
    [
        ("refuse", 8, 2),  # more often than a request is tried again
        ("slow", 1000, 1),
        ("forget", 1, 2),
        ("half", 2, 2),
        ("cut", 2, 1),
        ("flip", 2, 1),
        ("flip", 4, 2),  # more often than an object is written again
    ],
)
def test_a_store_that_errs(
    service: Deployed, admin: Client, ground: Ground, fault: str, times: int, attempts: int, did: Callable[[str], None]
):
    "S3 that refuses, is slow or loses what it is given: the job is tried again, the map is the same"
    assert ground.s3
    expected = admin.map_of(admin.ended(admin.submit(HERE).json()["jobID"])["jobID"])[0]
    ground.s3.set(fault, times)
    try:
        id = admin.submit(HERE).json()["jobID"]
        job = admin.ended(id)
        struck = ground.s3.struck
    finally:
        ground.s3.set("")
    content, stated = admin.map_of(id)
    assert struck >= min(times, 3)
    assert (job["status"], job["attempt"]) == ("successful", attempts)
    assert content == expected and hashlib.sha256(content).hexdigest() == stated
    did(f"{fault} {struck} times: successful in attempt {job['attempt']}, the same map")


def test_a_store_that_always_lies(service: Deployed, admin: Client, ground: Ground, did: Callable[[str], None]):
    "S3 that alters all it gives: nothing wrong is ever published, the job fails and says why"
    assert ground.s3
    ground.s3.set("flip")
    try:
        job = admin.ended(admin.submit(HERE).json()["jobID"])
    finally:
        ground.s3.set("")
    assert (job["status"], job["attempt"]) == ("failed", 3)
    assert "The store loses or alters data" in job["problem"]["detail"]
    assert admin.http.get(f"/jobs/{job['jobID']}/results").status_code == 404
    did("a byte of every answer altered: failed after 3 attempts, nothing published")
