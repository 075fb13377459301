"What the service tells of itself: counts that survive their workers, and lines that say which job."

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asked
import pytest
import service
from fastapi.testclient import TestClient
from runners import until
from sqlalchemy import Engine

from geocrop import settings
from geocrop.schema import SettingsError
from serving import logs
from serving.api.app import create_app
from serving.api.remembered import Remembered
from serving.jobs import jobs, tallies, workers
from serving.jobs.errors import AttemptLost, described
from serving.jobs.users import User
from serving.worker.errors import PublishError

LIMITS = settings.Jobs(attempts=2)
RESULT = {
    "files": {},
    "summary": {
        "hectares_counted": {"maize": 30.0, "water": 10.0}, "hectares_without_class": 5.0,
        "hectares_like_training": 30.0, "mean_confidence_pct": 80.0, "median_clear_days": 27, "warnings": [],
    },
    "measured": {"seconds": 1.25, "pixels": 4500, "scenes": 97, "peak_mb": 612},
}  # fmt: skip
NOT_STORED = described(PublishError("Object map.tif", found="another", expected="the same", remedy="See the disc."))


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_url")


def told(client: TestClient) -> dict[str, float]:
    "Series -> value, as /metrics says."
    lines = re.findall(r"^([a-z]\w+(?:\{.*\})?) (\S+)$", client.get("/metrics").text, re.M)
    return {name: float(value) for name, value in lines}


def claimed(engine: Engine, user: User) -> jobs.Job:
    "A job that worker `a` has."
    asked.job(engine, user)
    job = jobs.claim(engine, "a", 60)
    assert job
    return job


# --- counts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
def test_what_becomes_of_attempts_is_counted_once(engine: Engine, user: User, client: TestClient):
    before = told(client)
    assert before['geocrop_attempts_total{error="PublishError",outcome="retried"}'] == 0  # there from the start
    job = claimed(engine, user)
    assert jobs.publish(engine, job, "a", RESULT) and jobs.publish(engine, job, "a", RESULT)  # heard of at the second
    late = claimed(engine, user)
    jobs.dismiss(engine, late.id, user)
    assert not jobs.publish(engine, late, "a", RESULT)
    for _ in range(LIMITS.attempts):
        job = jobs.claim(engine, "a", 60) or claimed(engine, user)
        assert jobs.retry(engine, job, "a", NOT_STORED, limits=LIMITS)
    assert jobs.release(engine, claimed(engine, user), "a")
    assert (job := jobs.claim(engine, "a", 60)) and jobs.fail(engine, job, "a", {"kind": "KeyError"})
    now = told(client)
    assert {name: int(count) for name, count in now.items() if name.startswith("geocrop_attempts") and count} == {
        'geocrop_attempts_total{error="",outcome="published"}': 1,
        'geocrop_attempts_total{error="",outcome="refused"}': 1,
        'geocrop_attempts_total{error="",outcome="released"}': 1,
        'geocrop_attempts_total{error="PublishError",outcome="retried"}': 1,
        'geocrop_attempts_total{error="PublishError",outcome="failed"}': 1,
        'geocrop_attempts_total{error="other",outcome="failed"}': 1,  # of an error that is not ours
    }


def test_a_lost_lease_is_told_apart(engine: Engine, user: User, client: TestClient):
    asked.job(engine, user)
    assert jobs.claim(engine, "a", -1)  # its lease is over
    assert jobs.reconcile(engine, LIMITS).retried
    assert told(client)['geocrop_attempts_total{error="AttemptLost",outcome="retried"}'] == 1
    assert AttemptLost.__name__ in tallies.KINDS


def test_maps_are_counted_in_hectares(engine: Engine, user: User, client: TestClient):
    for _ in range(2):
        assert jobs.publish(engine, claimed(engine, user), "a", RESULT)
    unknown = {**RESULT, "summary": {**RESULT["summary"], "hectares_like_training": None}}  # type: ignore[dict-item]
    assert jobs.publish(engine, claimed(engine, user), "a", unknown)
    now = told(client)
    assert now['geocrop_mapped_hectares_total{class="maize"}'] == 90
    assert now["geocrop_confident_hectares_total"] == pytest.approx(0.8 * 120)
    assert (now["geocrop_judged_hectares_total"], now["geocrop_unlike_hectares_total"]) == (80, 20)
    assert (now["geocrop_unseen_hectares_total"], now["geocrop_mapped_pixels_total"]) == (15, 13500)
    assert now["geocrop_job_run_seconds_count"] == now['geocrop_job_wait_seconds_bucket{le="+Inf"}'] == 3
    others = [name for name in now if name.startswith("geocrop_mapped_hectares") and "maize" not in name]
    assert len(others) > 5 and now['geocrop_mapped_hectares_total{class="water"}'] == 30  # those of the legend, from 0


def test_ages_workers_and_the_champion_are_told(engine: Engine, user: User, client: TestClient):
    claimed(engine, user)
    asked.job(engine, user)
    workers.seen(engine, "a")
    now = told(client)
    assert now["geocrop_queue_age_seconds"] > 0 and now["geocrop_running_age_seconds"] > 0
    assert now["geocrop_workers"] == 1
    assert [name for name in now if name.startswith("geocrop_model_info") and 'version="1"' in name]


def test_the_reconciler_says_when_it_looked(project: service.Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GEOCROP_JOBS_RECONCILE_S", "0.05")
    with TestClient(create_app()) as client:
        until(lambda: told(client)["geocrop_reconciled_timestamp_seconds"] > 0)
        broken = pytest.MonkeyPatch()
        broken.setattr(jobs, "reconcile", lambda *_: 1 / 0)
        until(lambda: told(client)["geocrop_reconciler_errors_total"] > 0)
        broken.undo()


def test_drift_is_told_on_and_nothing_else(project: service.Project):
    folder = Path(project.environment["GEOCROP_STORE_RESULTS"]) / "drift"
    line = 'geocrop_drift_psi{{feature="ndvi_max",model="m",season="{}"}} {}\n'
    old, new, bad = (folder / f"{name}/geocrop_drift.prom" for name in ("2022", "2023", "bad"))
    for path in (old, new, bad):
        path.parent.mkdir(parents=True)
    old.write_text("# TYPE geocrop_drift_psi gauge\n" + line.format(2022, 0.1) + line.format(2023, 0.9))
    new.write_text(
        "# TYPE geocrop_drift_psi gauge\n" + line.format(2023, 0.2)
        + '# TYPE geocrop_drift_alarm gauge\ngeocrop_drift_alarm{kind="features",severity="P1"} 1\n'
        + "# TYPE up gauge\nup 0\n# TYPE geocrop_jobs gauge\ngeocrop_jobs 7\n"
    )  # fmt: skip
    bad.write_text("geocrop_drift_psi{ nonsense\n")
    (folder / "huge.prom").write_text("#" * 300_000)
    for second, path in enumerate((bad, old, new)):
        os.utime(path, (1e9 + second, 1e9 + second))
    with TestClient(create_app()) as client:
        now = told(client)
    drift = {name: value for name, value in now.items() if name.startswith("geocrop_drift")}
    assert drift == {
        'geocrop_drift_psi{feature="ndvi_max",model="m",season="2022"}': 0.1,
        'geocrop_drift_psi{feature="ndvi_max",model="m",season="2023"}': 0.2,  # the newer document counts
        'geocrop_drift_alarm{kind="features",severity="P1"}': 1.0,
    }
    assert "up" not in now and "geocrop_jobs" not in now


def test_a_store_that_hangs_keeps_nobody_waiting():
    ask: list[int] = []
    known = Remembered(lambda: ask.append(1) or len(ask), 0, fresh_s=0.0)
    assert known() == 1
    gate = threading.Event()
    known._ask = lambda: gate.wait(20) and 99  # type: ignore[assignment]
    assert [known() for _ in range(3)] == [1, 1, 1]  # what was known, at once, and one question for all
    gate.set()
    until(lambda: known() == 99)


# --- lines -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, project: service.Project) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    "What the service has said so far, in JSON."
    monkeypatch.setenv("GEOCROP_TELEMETRY_LOGS", "json")
    said: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: said.append(logs.Machines().format(record))  # type: ignore[method-assign]
    logger = logging.getLogger("serving")
    logger.addHandler(handler)
    monkeypatch.setattr(logger, "level", logging.INFO)
    yield lambda: [json.loads(line) for line in said]
    logger.removeHandler(handler)


def test_a_request_is_a_line_and_a_probe_is_none(lines: Callable[[], list[dict[str, Any]]], engine: Engine, user: User):
    with TestClient(create_app()) as client:
        headers = service.signed_in(client, user.name, "correct horse")
        body = {"inputs": {"aoi": [31.05, -17.83, 300.0], "year": 2022}}
        id = client.post("/processes/crop-map/execution", json=body, headers=headers).json()["jobID"]
        for path in (f"/jobs/{id}", "/healthz", "/metrics", "/nowhere/4711"):
            client.get(path, headers=headers)
    requests = {(line["route"], line["status"]): line for line in lines() if line["message"] == "request"}
    assert set(requests) == {
        ("/auth/token", 200), ("/processes/{process}/execution", 201), ("/jobs/{id}", 200), ("(none)", 404)
    }  # fmt: skip
    assert requests["/processes/{process}/execution", 201]["job"] == requests["/jobs/{id}", 200]["job"] == id
    assert "job" not in requests["(none)", 404] and all(0 < line["seconds"] < 60 for line in requests.values())


def test_nobody_writes_a_second_line():
    record = logging.LogRecord("a", logging.INFO, "f", 1, "found %s", ('x"\n{"level": "CRITICAL"}',), None)
    with logs.of_job("4711"):
        line = logs.Machines().format(record)
    assert "\n" not in line and json.loads(line)["job"] == "4711" and "CRITICAL" in json.loads(line)["message"]
    assert "job" not in json.loads(logs.Machines().format(record))


def test_people_read_text_unless_told_otherwise(project: service.Project, monkeypatch: pytest.MonkeyPatch):
    assert not logs.for_machines()
    monkeypatch.setenv("GEOCROP_TELEMETRY_LOGS", "yaml")
    with pytest.raises(SettingsError, match="text or json"):
        logs.for_machines()


def test_without_a_collector_nothing_is_traced_and_no_exporter_imported(project: service.Project):
    code = """if True:
        import sys
        from serving import tracing
        from serving.api.app import create_app
        tracing.begin("api")
        create_app()
        with tracing.span("nothing") as span:
            span.set_attribute("a", 1)
        tracers = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "requests")  # redis-py imports other parts
        print(tracing.on(), tracing.traceparent(), [name for name in sys.modules if name.startswith(tracers)])
    """
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[0] == "False None []"
