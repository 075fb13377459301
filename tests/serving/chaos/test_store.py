"A store that refuses, is slow, or lies."

import contextlib
import hashlib
from collections.abc import Callable, Iterator

import pytest
from deployed import Client, Deployed
from ground import Ground

DELAY_S = 0.3  # of a request
HERE = (31.06, -17.84, 100.0)
pytestmark = pytest.mark.parametrize("ground", ["stack"], indirect=True, scope="session")  # folders are another matter


@pytest.mark.parametrize(
    ("fault", "times", "attempts"),
    [
        ("refuse", 8, 2),  # more often than a request is tried again
        ("delay", 1000, 1),
        ("forget", 1, 2),
        ("cut", 2, 1),
        ("alter", 2, 1),
        ("alter", 4, 2),  # more often than an object is written again
    ],
)
def test_a_store_that_errs(
    service: Deployed, admin: Client, ground: Ground, fault: str, times: int, attempts: int, did: Callable[[str], None]
):
    "S3 that refuses, is slow or loses what it is given: the job is tried again, the map is the same"
    expected = admin.map_of(admin.ended(admin.submit(HERE).json()["jobID"])["jobID"])[0]
    with wrong(ground, fault, times) as struck:
        id = admin.submit(HERE).json()["jobID"]
        job = admin.ended(id)
        count = struck()
    content, stated = admin.map_of(id)
    assert count >= min(times, 3)
    assert (job["status"], job["attempt"]) == ("successful", attempts)
    assert content == expected and hashlib.sha256(content).hexdigest() == stated
    did(f"{fault} {count} times: successful in attempt {job['attempt']}, the same map")


def test_a_store_that_always_lies(service: Deployed, admin: Client, ground: Ground, did: Callable[[str], None]):
    "S3 that alters all it gives: nothing wrong is ever published, the job fails and says why"
    with wrong(ground, "alter", 1_000_000):
        job = admin.ended(admin.submit(HERE).json()["jobID"])
    assert (job["status"], job["attempt"]) == ("failed", 3)
    assert "The store loses or alters data" in job["problem"]["detail"]
    assert admin.http.get(f"/jobs/{job['jobID']}/results").status_code == 404
    did("a byte of every answer altered: failed after 3 attempts, nothing published")


@contextlib.contextmanager
def wrong(ground: Ground, fault: str, times: int) -> Iterator[Callable[[], int]]:
    "So many requests for objects of results meet a fault; gives how many have."
    s3 = ground.s3
    assert s3
    s3.key, s3.delay_s, s3.times, s3.fault = "/results/", DELAY_S, times, fault
    try:
        yield lambda: times - s3.times
    finally:
        s3.fault = ""
