"""What watches is itself watched: each rule is tested, each metric is exported, and the checks can fail.

Whether rules fire and are silent says promtool; that a metric of the API reaches a receiver through real servers is in
tests/serving/test_observability_chain.py.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "k8s"))
from check import monitoring  # noqa: E402


@pytest.fixture(scope="module")
def known() -> set[str]:
    "Names that the API exports."
    return monitoring.exported(ROOT)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    "A copy of what watches, to be broken."
    shutil.copytree(ROOT / "k8s/monitoring", tmp_path / "k8s/monitoring")
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs/observability.md", tmp_path / "docs")
    return tmp_path


def test_all_rows_are_good():
    if missing := [tool for tool in monitoring.PACKAGES if not shutil.which(tool)]:
        pytest.skip(f"no {', '.join(missing)}: apt-get install prometheus prometheus-alertmanager")
    rows = {row.kind: row for row in monitoring.rows(ROOT, overlays=False)}
    assert {kind: (row.problems, row.skipped) for kind, row in rows.items() if not row.good} == {}
    assert rows["alerts"].count >= 15 and rows["expressions of rules and panels"].count >= 60


@pytest.mark.parametrize(
    "wanted",
    ["PodNotRunning", "PodRestartsOften", "PodOOMKilled", "ContainerCpuHigh", "ContainerMemoryHigh", "QueueOld",
     "ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly", "PublicationsFail", "ModelDrifted", "ModelWorse"],
)  # fmt: skip
def test_what_must_be_watched_is(wanted: str):
    assert wanted in {rule.get("alert") for file in monitoring.rule_files(ROOT) for rule in monitoring.rules(file)}


def edited(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before


def test_a_rule_without_its_two_tests_is_found(copied: Path):
    assert not monitoring.untested(copied)
    tests = copied / "k8s/monitoring/prometheus/tests/jobs.test.yml"
    page = yaml.safe_load(tests.read_text())
    for test in page["tests"]:
        test["alert_rule_test"] = [
            one for one in test["alert_rule_test"] if one["alertname"] != "NoWorkers" or "exp_alerts" in one
        ]
    tests.write_text(yaml.safe_dump(page))
    assert monitoring.untested(copied) == ["NoWorkers: found no test in which it is silent"]
    tests.unlink()
    assert "QueueOld: found no test in which it fires" in monitoring.untested(copied)


def test_a_metric_that_nobody_exports_is_found_in_rules_and_panels(copied: Path, known: set[str]):
    assert not list(monitoring.unknown(copied, known))
    folder = copied / "k8s/monitoring"
    edited(folder / "prometheus/rules/jobs.yml", lambda text: text.replace("geocrop_workers", "geocrop_labourers"))
    edited(folder / "grafana/dashboards/jobs.json", lambda text: text.replace("geocrop_jobs{", "geocrop_tasks{"))
    found = " ".join(monitoring.unknown(copied, known))
    assert "jobs.yml, NoWorkers: nobody exports geocrop_labourers" in found
    assert "jobs.json, Waiting: nobody exports geocrop_tasks" in found


def test_an_alert_without_a_runbook_or_with_a_severity_of_its_own_is_found(copied: Path):
    assert not monitoring.undocumented(copied)
    edited(copied / "docs/observability.md", lambda text: text.replace("### QueueOld", "### Old queue"))
    rules = copied / "k8s/monitoring/prometheus/rules/service.yml"
    edited(rules, lambda text: text.replace("severity: critical", "severity: terrible", 1))
    found = " ".join(monitoring.undocumented(copied))
    assert "QueueOld: found runbook" in found and "ErrorBudgetBurnsFast: found severity" in found


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('sum by (le, route) (rate(a_bucket{route!~"b|c"}[5m]))', {"a_bucket"}),
        ("max(up) == 0 and on () max(jobs{status='d_e'}) > 0", {"up", "jobs"}),
        ("a:b:rate5m > 14.4 * 0.005 or vector(0)", {"a:b:rate5m"}),
        ("x offset 5m / on (namespace) group_left () y_total unless z", {"x", "y_total", "z"}),
        ("time() - max(t_seconds > 0) > 1e3", {"t_seconds"}),
    ],
)
def test_names_are_those_of_metrics_alone(expression: str, names: set[str]):
    assert monitoring.names(expression) == names


def test_the_page_has_a_row_for_each_metric_of_ours(known: set[str]):
    page = (ROOT / "docs/observability.md").read_text()
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known if name.startswith("geocrop_")}
    assert len(ours) > 15 and not {name for name in ours if f"`{name}`" not in page}


def test_dashboards_have_their_own_ids_and_every_panel_asks():
    pages = [json.loads(file.read_text()) for file in monitoring.dashboards(ROOT)]
    assert sorted(page["uid"] for page in pages) == [f"geocrop-{n}" for n in ("cluster", "jobs", "model", "service")]
    for page in pages:
        assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])
        for panel in page["panels"]:
            assert panel["targets"] and panel["datasource"]["uid"] == "prometheus", panel["title"]
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]
