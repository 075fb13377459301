"OGC API - Processes: by hand, by OWSLib's client, and with all that can be wrong with a request."

import re
import threading
import time
from typing import Any

import asked
import jsonschema
import owslib.ogcapi.processes
import pytest
import service
from fastapi.testclient import TestClient
from service import Project
from sqlalchemy import Engine

from geocrop.schema import AOI
from geocrop.settings import settings
from serving.api import problems, shapes
from serving.api.app import create_app
from serving.api.errors import NotReady
from serving.jobs import jobs, queue
from serving.jobs.users import User

DISC = {"aoi": [31.05, -17.83, 2000], "year": 2022}
RING = [[31.03, -17.84], [31.06, -17.84], [31.06, -17.82], [31.03, -17.84]]
EXECUTION = "/processes/crop-map/execution"


def polygon(*rings: Any) -> dict[str, Any]:
    return {"aoi": {"type": "Polygon", "coordinates": list(rings)}, "year": 2022}


def test_the_landing_page_leads_everywhere(client: TestClient):
    page = client.get("/").json()
    links = {link["rel"]: link["href"] for link in page["links"]}
    for href in links.values():
        assert client.get(href).status_code in (200, 401), href
    assert (
        "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core"
        in client.get("/conformance").json()["conformsTo"]
    )
    [one] = client.get("/processes").json()["processes"]
    assert one["id"] == "crop-map" and client.get(one["links"][0]["href"]).json()["title"] == one["title"]


def test_inputs_are_described_by_schemas_that_hold(client: TestClient):
    about = client.get("/processes/crop-map").json()
    aoi = about["inputs"]["aoi"]["schema"]
    for wanted in (DISC["aoi"], polygon(RING)["aoi"]):
        jsonschema.validate(wanted, aoi)
    for wanted in (
        [31.05, -17.83],
        [31.05, -117.83, 2000],
        [31.05, -17.83, 1],
        {"type": "Point", "coordinates": [31, -18]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wanted, aoi)
    jsonschema.validate(2022, about["inputs"]["year"]["schema"])
    assert set(about["outputs"]) == {"map", "item", "statistics", "style"}


@pytest.mark.parametrize(
    "inputs", [DISC, DISC | {"model": "champion"}, polygon(RING)], ids=["disc", "model", "polygon"]
)
def test_a_map_is_asked_for(client: TestClient, tendai: dict[str, str], inputs: dict[str, Any]):
    answer = client.post(EXECUTION, json={"inputs": inputs}, headers=tendai | {"Prefer": "respond-async"})
    job = answer.json()
    assert answer.status_code == 201 and answer.headers["location"] == f"/jobs/{job['jobID']}"
    assert job["type"] == "process" and job["processID"] == "crop-map" and job["status"] == "accepted"
    assert job["model"] == {"name": "zimbabwe_embedded", "version": "1"} and job["attempt"] == 0
    assert job["inputs"] == inputs | {"model": "champion"}
    assert job["area"]["type"] == "Polygon" and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", job["created"])
    assert client.get(answer.headers["location"], headers=tendai).json() == job
    shapes.StatusInfo.model_validate(job)


WRONG: dict[str, tuple[Any, str]] = {
    "swapped": ({"inputs": DISC | {"aoi": [-17.83, 31.05, 2000]}}, "swapped"),
    "large": ({"inputs": DISC | {"aoi": [31.05, -17.83, 80_000]}}, "80.0 km"),
    "small": ({"inputs": DISC | {"aoi": [31.05, -17.83, 10]}}, "aoi"),
    "not ended": ({"inputs": DISC | {"year": 2099}}, "not begun"),
    "no imagery": ({"inputs": DISC | {"year": 2019}}, "no imagery"),
    "latitude": ({"inputs": DISC | {"aoi": [31.05, -97.83, 2000]}}, "aoi"),
    "text": ({"inputs": DISC | {"aoi": ["31.05", -17.83, 2000]}}, "aoi"),
    "truth": ({"inputs": DISC | {"year": True}}, "year"),
    "more": ({"inputs": DISC | {"url": "http://127.0.0.1/"}}, "url"),
    "more outside": ({"inputs": DISC, "subscriber": {"successUri": "http://127.0.0.1/"}}, "subscriber"),
    "model": ({"inputs": DISC | {"model": "../../x"}}, "model"),
    "raw": ({"inputs": DISC, "response": "raw"}, "response"),
    "no inputs": ({}, "inputs"),
    "list": ([], "body"),
    "open": ({"inputs": polygon([*RING[:3], [31.0, -17.0]])}, "Close the ring"),
    "crossing": (
        {"inputs": polygon([[31, -18], [31.1, -17.9], [31.1, -18], [31, -17.9], [31, -18]])},
        "Self-intersection",
    ),
    "corners": ({"inputs": polygon([RING[0]] * 1001)}, "1000"),
    "rings": ({"inputs": polygon(*[RING] * 11)}, "10"),
    "point": ({"inputs": {"aoi": {"type": "Point", "coordinates": [31, -18]}, "year": 2022}}, "Polygon"),
    "member": ({"inputs": {"aoi": polygon(RING)["aoi"] | {"crs": "x"}, "year": 2022}}, "crs"),
}


@pytest.fixture
def zimbabwe(project: Project) -> None:
    "The country's outline is known to the service that starts next."
    west, south, east, north = 25.2, -22.4, 33.1, -15.6
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    (project.folder / "country.json").write_text(f'{{"type": "Polygon", "coordinates": [{ring}]}}')
    with (project.folder / "settings.ini").open("a") as file:
        file.write("[country]\nboundary = country.json\n")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_cannot_be_mapped_is_refused_in_words(zimbabwe: None, client: TestClient, tendai: dict[str, str]):
    for name, (body, says) in WRONG.items():
        for path in (
            (EXECUTION,)
            if name in ("raw", "model", "more outside", "crossing")
            else (EXECUTION, "/processes/crop-map/quote")
        ):
            answer = client.post(path, json=body, headers=tendai)
            assert answer.status_code == 422, (name, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert says in answer.json()["detail"] and answer.json()["remedy"], (name, answer.json())
    assert client.get("/jobs", headers=tendai).json()["jobs"] == []


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_url")


def test_numbers_that_are_none_and_bodies_that_are_no_json_are_refused(client: TestClient, tendai: dict[str, str]):
    headers = tendai | {"Content-Type": "application/json"}
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        body = f'{{"inputs": {{"aoi": [31.05, -17.83, {number}], "year": 2022}}}}'
        answer = client.post(EXECUTION, content=body, headers=headers)
        assert answer.status_code == 422 and answer.json()["title"], answer.text
    for body, status in (("{", 422), ("[" * 100_000, 400), (b"\xff\xfe", 422), (" " * 300_000, 413)):
        answer = client.post(EXECUTION, content=body, headers=headers)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    pieces = (b" " * 1000 for _ in range(300))  # of no stated length
    assert client.post(EXECUTION, content=pieces, headers=headers).status_code == 413


def test_errors_of_the_framework_are_problems_too(client: TestClient, tendai: dict[str, str]):
    for method, path, status in (("GET", "/nowhere", 404), ("PUT", "/jobs", 405), ("GET", "/processes/other", 404)):
        answer = client.request(method, path)
        assert answer.status_code == status and answer.json()["status"] == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"
    answer = client.post(f"/jobs/{'0' * 32}", headers=tendai)
    assert answer.status_code == 405 and answer.headers["allow"] == "DELETE, GET"
    assert (
        client.post("/processes/other/execution", json={"inputs": DISC}, headers=tendai)
        .json()["type"]
        .endswith("no-such-process")
    )


def test_an_error_that_nobody_foresaw_tells_nothing(
    client: TestClient, tendai: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("password of the database: hunter2")

    monkeypatch.setattr(jobs, "listed", broken)
    answer = client.get("/jobs", headers=tendai)
    assert answer.status_code == 500 and "hunter2" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_every_error_of_the_service_is_in_the_table():
    from serving.api import errors as api_errors
    from serving.jobs import errors as job_errors

    kinds = [
        kind
        for module in (api_errors, job_errors)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == module.__name__
    ]
    told_here = {"UserRefused", "AttemptLost"}  # by the command line, and between workers
    missing = {k.__name__ for k in kinds if not any(c in problems.ANSWERS for c in k.__mro__[:-3])}
    assert len(kinds) > 10 and missing <= told_here
    assert next(problems.ANSWERS[c] for c in NotReady.__mro__ if c in problems.ANSWERS).type.endswith(
        "result-not-ready"
    )


def test_the_same_key_gives_the_same_job(client: TestClient, tendai: dict[str, str]):
    headers = tendai | {"Idempotency-Key": "4f0c"}
    first, again = (client.post(EXECUTION, json={"inputs": DISC}, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201) and first.json() == again.json()
    other = client.post(EXECUTION, json={"inputs": DISC | {"aoi": [31.05, -17.83, 500]}}, headers=headers)
    assert other.status_code == 409 and "new key" in other.json()["remedy"]
    assert len(client.get("/jobs", headers=tendai).json()["jobs"]) == 1
    assert (
        client.post(EXECUTION, json={"inputs": DISC}, headers=tendai | {"Idempotency-Key": "k" * 129}).status_code
        == 422
    )


@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
def test_the_sixth_job_of_a_recruiter_is_refused_and_an_administrators_is_not(
    client: TestClient, tendai: dict[str, str], root: dict[str, str]
):
    for number in range(6):
        answer = client.post(EXECUTION, json={"inputs": DISC}, headers=tendai)
        assert answer.status_code == (201 if number < 5 else 429), answer.text
        assert client.post(EXECUTION, json={"inputs": DISC}, headers=root).status_code == 201
    assert "5 in all" in answer.json()["expected"] and "retry-after" not in answer.headers
    assert client.get("/auth/me", headers=tendai).json()["jobs_used"] == 5


def test_a_full_queue_says_when_to_come_again(
    project: Project, user: User, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GEOCROP_JOBS_WAITING", "1")
    with TestClient(create_app()) as client:
        headers = service.signed_in(client, user.name, "correct horse")
        assert client.post(EXECUTION, json={"inputs": DISC}, headers=headers).status_code == 201
        answer = client.post(EXECUTION, json={"inputs": DISC}, headers=headers)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 5


def test_a_job_is_accepted_while_redis_is_away_and_called_out_while_it_is_there(
    project: Project, user: User, monkeypatch: pytest.MonkeyPatch, redis_url: str
):
    for url in ("redis://127.0.0.1:9/0", redis_url):
        monkeypatch.setenv("GEOCROP_REDIS_URL", url)
        with TestClient(create_app()) as client:
            headers = service.signed_in(client, user.name, "correct horse")
            assert client.post(EXECUTION, json={"inputs": DISC}, headers=headers).status_code == 201
    assert queue.queue(redis_url).count == 1


def test_a_job_is_accepted_while_redis_hangs(project: Project, user: User, monkeypatch: pytest.MonkeyPatch):
    answers, asked_for = threading.Event(), threading.Event()
    monkeypatch.setattr(queue, "wake", lambda *_: asked_for.set() or answers.wait(60))
    with TestClient(create_app()) as client:
        headers = service.signed_in(client, user.name, "correct horse")
        for _ in range(3):
            assert client.post(EXECUTION, json={"inputs": DISC}, headers=headers).status_code == 201
        assert asked_for.wait(60) and not answers.is_set()
        answers.set()


@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
def test_pages_of_jobs_hold_each_job_once(
    client: TestClient, engine: Engine, user: User, tendai: dict[str, str], admin: User
):
    mine = [asked.job(engine, user).id for _ in range(5)]
    theirs = asked.job(engine, admin).id
    jobs.dismiss(engine, mine[0], user)
    seen: list[str] = []
    href: str | None = "/jobs?limit=2"
    while href:
        page = client.get(href, headers=tendai).json()
        assert len(page["jobs"]) <= 2
        seen += [job["jobID"] for job in page["jobs"]]
        href = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
        assert href is None or not any(id in href for id in mine)  # a cursor means nothing
    assert seen == mine[::-1]
    only = client.get("/jobs?status=dismissed", headers=tendai).json()["jobs"]
    assert [job["jobID"] for job in only] == mine[:1]
    for query in ("limit=0", "limit=101", "status=lost", "after=rubbish", "after=%00", "limit=x"):
        assert client.get(f"/jobs?{query}", headers=tendai).status_code == 422, query
    from serving.api.paging import cursor

    assert client.get(f"/jobs?after={cursor(theirs)}", headers=tendai).status_code == 404


def test_a_job_is_dismissed_once_and_for_all(
    client: TestClient, engine: Engine, user: User, tendai: dict[str, str], project: Project
):
    job = asked.job(engine, user)
    for _ in range(2):
        answer = client.delete(f"/jobs/{job.id}", headers=tendai)
        assert answer.status_code == 200 and answer.json()["status"] == "dismissed"
    answer = client.get(f"/jobs/{job.id}/results", headers=tendai)
    assert answer.status_code == 404 and "dismissed" in answer.json()["found"]
    done = service.finish(project, engine, asked.job(engine, user))
    answer = client.delete(f"/jobs/{done.id}", headers=tendai)
    assert answer.status_code == 409 and client.get(f"/jobs/{done.id}", headers=tendai).json()["status"] == "successful"


def test_a_job_that_failed_says_why(client: TestClient, engine: Engine, user: User, tendai: dict[str, str]):
    from geocrop.schema import ItemsError
    from serving.jobs.errors import described

    asked.job(engine, user)
    job = jobs.claim(engine, "worker", 60)
    assert job
    error = ItemsError("Catalogue", found="no scene", expected="some", remedy="Choose another place.")
    assert jobs.fail(engine, job, "worker", described(error))
    told = client.get(f"/jobs/{job.id}", headers=tendai).json()
    assert told["status"] == "failed" and told["problem"]["detail"] == str(error)
    assert told["problem"]["remedy"] == "Choose another place." and told["problem"]["title"]
    answer = client.get(f"/jobs/{job.id}/results", headers=tendai)
    assert answer.status_code == 404 and "no scene" in answer.json()["found"]


def test_results_are_not_ready_before_the_end(client: TestClient, engine: Engine, user: User, tendai: dict[str, str]):
    job = asked.job(engine, user)
    answer = client.get(f"/jobs/{job.id}/results", headers=tendai)
    assert answer.status_code == 404 and answer.json()["type"].endswith("/result-not-ready")


def test_owslib_lists_executes_polls_and_fetches(site: Any):
    "A client that nobody here wrote."
    ogc = owslib.ogcapi.processes.Processes(site.live.url, headers=dict(site.headers))
    assert [one["id"] for one in ogc.processes()] == ["crop-map"]
    assert "core" in ogc.conformance()["conformsTo"][0]
    assert ogc.process("crop-map")["inputs"]["aoi"]["minOccurs"] == 1
    job = ogc.execute("crop-map", DISC, async_=True)
    assert job["status"] == "accepted" and ogc.response_headers["Location"] == f"/jobs/{job['jobID']}"

    worker = threading.Thread(
        target=lambda: service.finish(site.project, site.engine, jobs.get(site.engine, job["jobID"]))
    )
    worker.start()
    end = time.monotonic() + 20
    while (status := ogc._request(path=f"jobs/{job['jobID']}"))["status"] != "successful":
        assert time.monotonic() < end
    worker.join()
    results = next(link["href"] for link in status["links"] if link["rel"].endswith("/results"))
    page = ogc._request(path=results.lstrip("/"))
    content = ogc._request(path=page["map"]["href"].lstrip("/"), as_dict=False)
    assert content == (service.ROOT / "results/map.tif").read_bytes()


def test_the_area_that_a_job_keeps_is_the_one_that_was_asked(client: TestClient, tendai: dict[str, str]):
    disc = client.post(EXECUTION, json={"inputs": DISC}, headers=tendai).json()["area"]
    assert disc["coordinates"][0][0] == pytest.approx(AOI(31.05, -17.83, 2000).polygon()["coordinates"][0][0])
    limits = client.get("/limits").json()
    assert limits["seasons"] == [2022] and limits["baselines"] == [2022] and limits["embedded"] is True
    assert limits["radius_m"] == {"min": 50, "max": 50_000} and limits["centre"] == pytest.approx(
        [31.05, -17.83], abs=0.01
    )
    assert settings("api").embedded
