"Many ask for maps at the same moment."

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from deployed import Client, Deployed

MANY = 40
HERE = (31.05, -17.83, 100.0)


def at_once(ask: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    "The answers to requests that are all under way at the same time."
    with ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(ask, range(MANY)))


def test_a_recruiter_has_no_more_than_five_jobs(service: Deployed, did: Callable[[str], None]):
    "a recruiter has no more than 5 jobs, however many are asked for at once"
    recruiter = service.newcomer("recruiter")
    answers = at_once(lambda _: recruiter.submit(HERE))
    counts = Counter(answer.status_code for answer in answers)
    assert counts == {201: 5, 429: MANY - 5}
    refused = next(answer for answer in answers if answer.status_code == 429).json()
    assert "5 in all for a recruiter" in refused["detail"]
    mine = recruiter.http.get("/jobs", params={"limit": 50}).json()["jobs"]
    assert {job["jobID"] for job in mine} == {a.json()["jobID"] for a in answers if a.status_code == 201}
    assert {recruiter.ended(job["jobID"])["status"] for job in mine} == {"successful"}
    assert recruiter.submit(HERE).status_code == 429  # jobs that succeeded count
    did(f"{MANY} requests at once: {counts[201]} accepted, {counts[429]} refused")


def test_one_key_is_one_job(service: Deployed, admin: Client, did: Callable[[str], None]):
    "the same Idempotency-Key is one job, however many send it at once"
    answers = at_once(lambda _: admin.submit(HERE, key="the same"))
    assert {answer.status_code for answer in answers} == {201}
    [id] = {answer.json()["jobID"] for answer in answers}
    assert [job["jobID"] for job in admin.http.get("/jobs", params={"limit": 50}).json()["jobs"]].count(id) == 1
    assert admin.ended(id)["status"] == "successful"
    assert admin.submit(HERE, key="the same").json()["jobID"] == id  # also later
    other = admin.submit((31.05, -17.83, 200.0), key="the same")
    assert (other.status_code, other.headers["Content-Type"]) == (409, "application/problem+json")
    did(f"{MANY} requests at once with one key: {len({a.json()['jobID'] for a in answers})} job")
