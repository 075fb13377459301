"What the other side answers at once: passed on where it answers, 503 where it does not. It is a real server here too."

import json
from collections.abc import Iterator
from typing import Any

import asked
import pytest
import service
from fastapi.testclient import TestClient
from side import CURVE, QUOTE, Side, serve
from sqlalchemy import Engine

from serving.api import service as api_service
from serving.api.app import create_app
from serving.jobs import jobs, workers
from serving.jobs.users import User

DISC = {"aoi": [31.05, -17.83, 2000], "year": 2022}
INFER = "/v2/models/geocrop/infer"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def side(project: service.Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Side]:
    "The other side, whose address the settings name."
    with serve() as side:
        monkeypatch.setenv("GEOCROP_API_ANSWERS", side.url)
        yield side


@pytest.fixture
def asking(side: Side, project: service.Project) -> Iterator[TestClient]:
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def headers(asking: TestClient, user: User) -> dict[str, str]:
    return service.signed_in(asking, user.name, "correct horse")


def test_a_quote_tells_what_the_queue_adds(
    asking: TestClient, headers: dict[str, str], side: Side, engine: Engine, user: User, project: service.Project
):
    def quote() -> dict[str, Any]:
        answer = asking.post("/processes/crop-map/quote", json={"inputs": DISC}, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert quote() == QUOTE | {"ahead": 0, "seconds_until_start": None}  # nobody works
    assert side.asked == [
        ("POST", "/quote", json.dumps(DISC, separators=(",", ":")).replace("2000", "2000.0").encode())
    ]
    workers.seen(engine, "worker")
    assert quote() == QUOTE | {"ahead": 0, "seconds_until_start": 0.0}
    job = asked.job(engine, user)
    assert quote()["seconds_until_start"] is None  # no job has run: who knows?
    service.finish(project, engine, job)
    typical_s = jobs.run_s(engine)
    for number in (1, 2):
        asked.job(engine, user)
        assert quote() == QUOTE | {"ahead": number, "seconds_until_start": pytest.approx(number * typical_s)}


def test_rows_go_through_untouched(asking: TestClient, headers: dict[str, str], side: Side):
    side.answers = {INFER: {"outputs": []}}
    body = b'{ "inputs": [1,  2.50] }'
    answer = asking.post(INFER, content=body, headers=headers)
    assert answer.status_code == 200 and answer.json() == {"outputs": []} and side.asked == [("POST", INFER, body)]
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/geocrop"):
        assert asking.get(path).json() == {} and side.asked[-1][:2] == ("GET", path)
    assert asking.post(INFER, content=body).status_code == 401 and len(side.asked) == 5


def test_ten_thousand_rows_fit_and_much_more_does_not(asking: TestClient, headers: dict[str, str], side: Side):
    row = ",".join(["-0.12345678901234567"] * 51)
    assert asking.post(INFER, content="[" + ",".join([row] * 10_000) + "]", headers=headers).status_code == 200
    answer = asking.post(INFER, content=b" " * (33 * 2**20), headers=headers)
    assert answer.status_code == 413 and len(side.asked) == 1


def test_the_askers_own_fault_is_told_in_the_other_sides_words(asking: TestClient, headers: dict[str, str], side: Side):
    side.status, side.media = 400, "application/problem+json"
    side.answers = {path: {"title": "52 features"} for path in (INFER, "/quote")}
    for method, path in (("POST", INFER), ("POST", "/processes/crop-map/quote")):
        answer = asking.request(method, path, json={"inputs": DISC}, headers=headers)
        assert answer.status_code == 400 and answer.json() == {"title": "52 features"}
        assert answer.headers["content-type"] == "application/problem+json"


def test_the_curve_of_a_pixel_is_that_of_the_jobs_season(
    asking: TestClient, headers: dict[str, str], side: Side, engine: Engine, user: User, admin: User
):
    job = asked.job(engine, user)
    answer = asking.get(f"/jobs/{job.id}/curve?lon=31.05&lat=-17.83", headers=headers)
    assert answer.json() == CURVE
    assert side.asked == [("POST", "/curve", b'{"lon":31.05,"lat":-17.83,"year":2022}')]
    other = asked.job(engine, admin)
    assert asking.get(f"/jobs/{other.id}/curve?lon=31.05&lat=-17.83", headers=headers).status_code == 404
    assert len(side.asked) == 1


@pytest.mark.parametrize("how", ["broken", "slow", "gone"])
def test_where_it_does_not_answer_the_client_is_told_when_to_ask_again(
    side: Side, project: service.Project, user: User, monkeypatch: pytest.MonkeyPatch, how: str
):
    monkeypatch.setattr(api_service, "ANSWERS_S", 0.2)
    if how == "broken":
        side.status = 500
    if how == "slow":
        side.may_answer.clear()
    if how == "gone":
        monkeypatch.setenv("GEOCROP_API_ANSWERS", "http://127.0.0.1:9")
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        headers = service.signed_in(client, user.name, "correct horse")
        for method, path in (("POST", "/processes/crop-map/quote"), ("POST", INFER), ("GET", "/v2/health/ready")):
            answer = client.request(method, path, json={"inputs": DISC}, headers=headers)
            assert answer.status_code == 503 and answer.headers["retry-after"] == "5", answer.text
            assert answer.headers["content-type"] == "application/problem+json" and "127.0.0.1" not in answer.text
        body = {"inputs": DISC}  # jobs do not need it
        assert client.post("/processes/crop-map/execution", json=body, headers=headers).status_code == 201
