"What the other side answers at once: passed on where it answers, 503 where it does not. It is a real server here too."

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import asked
import pytest
import service
from fastapi.testclient import TestClient
from loopback import answering
from sqlalchemy import Engine

from serving.api import service as api_service
from serving.api.app import create_app
from serving.jobs import jobs, workers
from serving.jobs.users import User

QUOTE = {
    "hectares": 1256.6, "pixels": 125_664, "seconds": {"low": 8.0, "high": 20.0}, "expected_clear_days": 51,
    "scenes": 95, "gigabytes": 0.4,
}  # fmt: skip
DISC = {"aoi": [31.05, -17.83, 2000], "year": 2022}
INFER = "/v2/models/geocrop/infer"


@dataclass
class Side:
    "What the other side says, and what it was asked."

    status: int = 200
    content: bytes = json.dumps(QUOTE).encode()
    media: str = "application/json"
    delay_s: float = 0.0
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        side: Side = self.server.side  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        side.asked.append((self.command, self.path, body))
        time.sleep(side.delay_s)
        self.send_response(side.status)
        self.send_header("Content-Type", side.media)
        self.send_header("Content-Length", str(len(side.content)))
        self.end_headers()
        self.wfile.write(side.content)

    do_GET = do_POST

    def log_message(self, *_: Any) -> None:
        "Tests print nothing."


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def side(project: service.Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Side]:
    "The other side, whose address the settings name."
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.side = Side()  # type: ignore[attr-defined]
    with answering(server) as url:
        monkeypatch.setenv("GEOCROP_API_ANSWERS", url)
        yield server.side  # type: ignore[attr-defined]


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
    side.content = b'{"outputs":[]}'
    body = b'{ "inputs": [1,  2.50] }'
    answer = asking.post(INFER, content=body, headers=headers)
    assert answer.status_code == 200 and answer.content == side.content and side.asked == [("POST", INFER, body)]
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/geocrop"):
        assert asking.get(path).content == side.content and side.asked[-1][:2] == ("GET", path)
    assert asking.post(INFER, content=body).status_code == 401 and len(side.asked) == 5


def test_ten_thousand_rows_fit_and_much_more_does_not(asking: TestClient, headers: dict[str, str], side: Side):
    row = ",".join(["-0.12345678901234567"] * 51)
    assert asking.post(INFER, content="[" + ",".join([row] * 10_000) + "]", headers=headers).status_code == 200
    answer = asking.post(INFER, content=b" " * (33 * 2**20), headers=headers)
    assert answer.status_code == 413 and len(side.asked) == 1


def test_the_askers_own_fault_is_told_in_the_other_sides_words(asking: TestClient, headers: dict[str, str], side: Side):
    side.status, side.content = 400, b'{"title":"52 features"}'
    side.media = "application/problem+json"
    for method, path in (("POST", INFER), ("POST", "/processes/crop-map/quote")):
        answer = asking.request(method, path, json={"inputs": DISC}, headers=headers)
        assert answer.status_code == 400 and answer.content == side.content
        assert answer.headers["content-type"] == "application/problem+json"


def test_the_curve_of_a_pixel_is_that_of_the_jobs_season(
    asking: TestClient, headers: dict[str, str], side: Side, engine: Engine, user: User, admin: User
):
    side.content = b'{"dates":["2022-09-03"],"ndvi":[0.2],"clear":[true]}'
    job = asked.job(engine, user)
    answer = asking.get(f"/jobs/{job.id}/curve?lon=31.05&lat=-17.83", headers=headers)
    assert answer.json()["ndvi"] == [0.2]
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
        side.delay_s = 0.6
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
