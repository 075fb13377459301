"What jobs took, told to a real MLflow server; and to one that is away."

import time
from pathlib import Path

import asked
import httpx
import mlflow_server
import postgres
import pytest
from loopback import free_ports
from runners import until

from geocrop.settings import MLflow
from serving.jobs import database, users
from serving.jobs.jobs import Job
from serving.worker.tracker import Tracker

RESULT = {
    "files": {},
    "summary": {
        "hectares_counted": {"maize": 12.5, "water": 0.5},
        "hectares_without_class": 1.0,
        "mean_confidence_pct": 81.2,
        "median_clear_days": 27,
    },
    "measured": {"seconds": 1.25, "pixels": 40_000, "scenes": 97, "peak_mb": 612},
}


@pytest.fixture
def job(sqlite_url: str) -> Job:
    "A job that somebody asked for."
    engine = database.connect(sqlite_url)
    return asked.job(engine, users.add(engine, "root", "correct horse", "admin"))


def test_a_server_has_a_run_for_each_job(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if postgres.binaries() is None:
        pytest.skip("no PostgreSQL with PostGIS: apt-get install postgresql-15 postgresql-15-postgis-3")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with mlflow_server.serve(tmp_path) as server:
        tracker = Tracker.of(MLflow(tracking_uri=server.url, experiment="geocrop"))
        for _ in range(2):
            tracker.log(job, RESULT)
        with httpx.Client(base_url=f"{server.url}/api/2.0/mlflow/", trust_env=False) as client:

            def runs() -> list[dict]:
                found = client.get("experiments/get-by-name", params={"experiment_name": "geocrop-jobs"})
                if not found.is_success:
                    return []
                page = {"experiment_ids": [found.json()["experiment"]["experiment_id"]]}
                rows = client.post("runs/search", json=page).json().get("runs", [])
                return [run for run in rows if run["info"]["status"] == "FINISHED"]

            until(lambda: len(runs()) == 2)
            run = runs()[0]
        tracker.close()
    metrics = {row["key"]: row["value"] for row in run["data"]["metrics"]}
    assert metrics["seconds"] == 1.25 and metrics["hectares"] == 13 and metrics["mean_confidence_pct"] == 81.2
    tags = {row["key"]: row["value"] for row in run["data"]["tags"]}
    assert tags["geocrop.job"] == job.id and tags["geocrop.model"] == "zimbabwe_embedded/1"


def test_a_server_that_is_away_costs_a_job_nothing(job: Job, caplog: pytest.LogCaptureFixture):
    tracker = Tracker.of(MLflow(tracking_uri=f"http://127.0.0.1:{free_ports(1)[0]}"))
    begin = time.monotonic()
    tracker.log(job, RESULT)
    assert time.monotonic() - begin < 5
    until(lambda: "MLflow was not told" in caplog.text)
    tracker.close()


def test_a_database_of_runs_is_left_alone(job: Job):
    tracker = Tracker.of(MLflow(tracking_uri="sqlite:///mlflow.db"))
    tracker.log(job, RESULT)
    assert tracker.url == "" and not tracker._pool._threads
