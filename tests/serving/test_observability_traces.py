"One trace from the request to the windows of its map, told to a collector by three processes; and one that is away."

import json
from collections.abc import Callable
from pathlib import Path

import collector
import deployed
import pytest
from deployed import Place
from sqlalchemy import Engine

from geocrop.settings import Store
from serving import tracing
from serving.jobs.models import Model
from serving.jobs.users import User

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"  # the example of the W3C's Trace Context


@pytest.fixture
def place(sqlite_url: str, places: Store, model: Model, tmp_path: Path) -> Place:
    "A service with the runners' model."
    return Place(
        tmp_path / "service",
        {
            "database": {"url": sqlite_url},
            "store": {"models": places.models, "results": places.results},
            "jobs": deployed.QUICK,
            "api": {"secret": deployed.secret()},
        },
    )


def test_a_trace_goes_from_the_request_to_the_windows_of_the_map(place: Place):
    with collector.collector() as told:
        watched = Place(place.folder, {**place.settings, "telemetry": {"traces": told.url, "logs": "json"}})
        with deployed.deployed(watched) as service:
            client = service.newcomer("admin")
            body = {"inputs": {"aoi": [31.05, -17.83, 300.0], "year": 2022}}
            answer = client.http.post("/processes/crop-map/execution", json=body, headers={"traceparent": PARENT})
            id = answer.json()["jobID"]
            assert client.ended(id, 300)["status"] == "successful"
            trace = PARENT.split("-")[1]

            def complete() -> list[collector.Told]:
                spans = told.spans(trace)
                return spans if {"settle", "job", "map"} <= {span.name for span in spans} else []

            spans = deployed.until(complete, 30, "the collector is not told")
            said = [line for log in watched.folder.glob("*.log") for line in log.read_text().splitlines()]
    by_id = {span.id: span for span in spans}
    ways = {
        (span.part.removeprefix("geocrop-"), span.name, by_id[span.parent].name if span.parent in by_id else "")
        for span in spans
    }
    assert ways == {
        ("api", "POST /processes/{process}/execution", ""),  # its parent is whoever asked
        ("worker", "job", "POST /processes/{process}/execution"),
        ("worker", "settle", "job"),
        ("runner", "map", "job"),
        ("runner", "fetch model", "map"),
        ("runner", "search scenes", "map"),
        ("runner", "map windows", "map"),
        ("runner", "window", "map windows"),
        ("runner", "store map", "map"),
    }
    assert next(span for span in spans if span.part == "geocrop-api").parent == PARENT.split("-")[2]
    inside = {span.name: span for span in spans}
    assert inside["job"].facts["geocrop.job"] == inside["map"].facts["geocrop.job"] == id
    assert inside["map windows"].begin <= inside["window"].begin <= inside["window"].end <= inside["map windows"].end
    assert not [span for span in told.spans() if "/healthz" in span.name]
    lines = [json.loads(line) for line in said if line.startswith("{")]
    assert {line["logger"] for line in lines if line.get("trace") == trace and line["job"] == id} >= {
        "serving.requests", "serving.worker.worker"
    }  # fmt: skip


def test_a_collector_that_is_away_stops_nobody(
    engine: Engine, user: User, ask: Callable, work: Callable, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GEOCROP_TELEMETRY_TRACES", "http://127.0.0.1:9")
    tracing.begin("worker")
    try:
        with tracing.span("request", kind="server"):
            job, parent = ask(), tracing.traceparent()
        assert job.traceparent == parent and len(parent or "") == 55
        assert work().run_next()
    finally:
        tracing.end()  # comes back
    assert not tracing.on()


def test_a_traceparent_that_is_none_begins_a_trace_of_its_own(monkeypatch: pytest.MonkeyPatch):
    with collector.collector() as told:
        monkeypatch.setenv("GEOCROP_HOME", str(deployed.ROOT))
        monkeypatch.setenv("GEOCROP_TELEMETRY_TRACES", told.url)
        tracing.begin("api")
        try:
            for parent in ("nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 10_000):
                with tracing.span("request", parent):
                    assert tracing.ids()
        finally:
            tracing.end()
        assert len({span.trace for span in told.spans()}) == 3 and not any(span.parent for span in told.spans())
