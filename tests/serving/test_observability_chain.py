"""The chain for real: a metric of the API -> Prometheus -> Alertmanager -> the receiver that stands for triage.

Rules and routes are those of k8s/monitoring; only their waiting is shortened.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asked
import pytest
import service
import watch
import yaml
from prometheus_client import start_http_server
from runners import until
from sqlalchemy import Engine, update

from serving.jobs import database, jobs, tables, workers
from serving.jobs.users import User
from serving.worker.metrics import Metrics

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "k8s/monitoring"
sys.path.insert(0, str(ROOT / "k8s"))
from check import monitoring  # noqa: E402

RESULT = {
    "files": {}, "measured": {"pixels": 4500},
    "summary": {"hectares_counted": {"maize": 30.0}, "hectares_like_training": 20.0, "mean_confidence_pct": 80.0,
                "hectares_without_class": 5.0},
}  # fmt: skip


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture(autouse=True)
def _tools() -> None:
    if not watch.there():
        pytest.skip("no Prometheus: apt-get install prometheus prometheus-alertmanager")


@pytest.fixture
def live(project: service.Project) -> Iterator[service.Live]:
    "The API over a socket. It reconciles often, and a worker that was heard of once is there to the end."
    how = {"GEOCROP_JOBS_RECONCILE_S": "0.5", "GEOCROP_JOBS_LEASE_S": "3600"}
    with service.listening() as sock, service.api(project, sock, how) as live:
        yield live


def hasty(target: str, alertmanager: str, folder: Path) -> dict[str, Any]:
    "Prometheus' configuration, with one target, asked every second, and rules that wait a second."
    rules = folder / "rules"
    rules.mkdir()
    for file in monitoring.rule_files(ROOT):
        page = yaml.safe_load(file.read_text())
        for rule in (rule for group in page["groups"] for rule in group["rules"] if "for" in rule):
            rule["for"] = "1s"
        (rules / file.name).write_text(yaml.safe_dump(page))
    page = yaml.safe_load((MONITORING / "prometheus/prometheus.yml").read_text())
    page["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")
    page["rule_files"] = [f"{rules}/*.yml"]
    page["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    page["scrape_configs"] = [{"job_name": "geocrop", "static_configs": [{"targets": [target]}]}]
    return page


def impatient(receiver: str) -> dict[str, Any]:
    "Alertmanager's configuration, which tells the receiver at once."
    page = yaml.safe_load((MONITORING / "alertmanager/alertmanager.yml").read_text())
    for route in (page["route"], *page["route"]["routes"]):
        route |= {"group_wait": "0s", "group_interval": "1s"}
    for hook in (hook for one in page["receivers"] for hook in one["webhook_configs"]):
        hook["url"] = receiver
        hook.pop("http_config", None)  # a token that is only in the cluster
    return page


def drifted(project: service.Project, alarm: str) -> None:
    "`geocrop drift` has found something in season 2023."
    folder = Path(project.environment["GEOCROP_STORE_RESULTS"]) / "drift" / "2023"
    folder.mkdir(parents=True)
    about = 'model="m",season="2023"'
    lines = [f'geocrop_drift_psi{{{about},feature="ndvi_max"}} 0.3', f"geocrop_drift_alarm{{{about},{alarm}}} 1"]
    (folder / "geocrop_drift.prom").write_text("\n".join(lines) + "\n")


def test_a_job_that_waits_too_long_reaches_triage_and_so_does_its_end(
    live: service.Live, project: service.Project, engine: Engine, user: User, tmp_path: Path
):
    "And a model that has become worse reaches both triage and the workflow that proposes to retrain."
    drifted(project, 'kind="score",severity="P0"')
    job = asked.job(engine, user)
    long_ago = update(tables.jobs).values(created=tables.jobs.c.created - 7200)
    database.write(engine, lambda conn: conn.execute(long_ago))
    workers.seen(engine, "somebody who is busy")
    with watch.receiver() as triage, watch.alertmanager(tmp_path, impatient(triage.url)) as alertmanager:
        config = hasty(live.url.removeprefix("http://"), alertmanager, tmp_path)
        with watch.prometheus(tmp_path, config) as prometheus:
            until(lambda: prometheus.query("geocrop_queue_age_seconds > 7000"), 60)
            until(lambda: triage.alerts("QueueOld", "firing"), 60)
            jobs.dismiss(engine, job.id, user)
            until(lambda: triage.alerts("QueueOld", "resolved"), 60)
            until(lambda: triage.receivers("ModelWorse") == {"triage", "retrain"}, 60)
    [alert, *_] = triage.alerts("QueueOld", "firing")
    assert alert["labels"]["severity"] == "high"
    assert alert["annotations"]["summary"].startswith("A job has waited for 2h")
    assert alert["annotations"]["runbook_url"] == "docs/observability.md#queueold"
    assert triage.receivers("QueueOld") == {"triage"} and triage.bodies[0]["version"] == "4"
    assert not triage.alerts("NoWorkers", "firing") and not triage.alerts("DatabaseAway", "firing")


def test_every_panel_asks_what_prometheus_understands_and_ours_have_an_answer(
    live: service.Live, project: service.Project, engine: Engine, user: User, tmp_path: Path
):
    "Of the API after two maps and a drift, through a Prometheus that has asked it often."
    drifted(project, 'kind="features",severity="P1"')
    answers = Metrics()  # of the side that answers
    answers.follows(asked.MODEL)
    server, _ = start_http_server(0, "127.0.0.1", answers.registry)
    config = hasty(live.url.removeprefix("http://"), "127.0.0.1:9", tmp_path)
    other = {"job_name": "geocrop-answers", "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}]}
    config["scrape_configs"].append(other)
    with watch.prometheus(tmp_path, config) as prometheus:

        def seen(expression: str) -> None:
            until(lambda: prometheus.query(expression), 60)

        seen("geocrop_queue_age_seconds")
        for _ in range(2):
            asked.job(engine, user)
            job = jobs.claim(engine, "a", 60)
            assert job and jobs.publish(engine, job, "a", RESULT)
        watch.answer(f"{live.url}/legend").close()
        for _ in range(2):
            answers.requests.labels("POST", "/quote", 200).observe(0.1)
            answers.inferred([1, 1, 255], [0.9, 0.6], {1: "maize"})
            seen('increase(geocrop_inferred_rows_total{class="maize"}[1m])')
        seen('rate(geocrop_request_seconds_count{route="/legend"}[1m])')
        seen("increase(geocrop_job_run_seconds_count[1m]) > 0")
        seen("geocrop_drift_alarm == 1")
        seen("geocrop_reconciled_timestamp_seconds > 0")
        silent = []
        for dashboard in monitoring.dashboards(ROOT):
            for panel, expression in monitoring.expressions(dashboard):
                found = prometheus.query(expression)
                if dashboard.stem != "cluster" and not found:
                    silent.append(f"{dashboard.stem}, {panel}: {expression}")
    server.shutdown()
    assert not silent
