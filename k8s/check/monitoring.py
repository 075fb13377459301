"""What watches: its configuration, its rules and their tests, its dashboards, and the names in all of them.

A rule about a metric that nobody exports is silent for ever, and a panel of one is empty: so each name is looked up,
ours in what the API tells when it is asked, those of others in the lists that their projects publish.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from . import policies
from .kustomize import build
from .table import Row

PACKAGES = {"promtool": "prometheus", "amtool": "prometheus-alertmanager"}  # Debian's, that bring a program
# Only those that are used here; whoever needs another one looks there.
OTHERS = {
    # https://github.com/kubernetes/kube-state-metrics/tree/v2.18.0/docs/metrics/workload
    "kube_pod_status_phase", "kube_pod_container_status_restarts_total", "kube_pod_container_resource_limits",
    "kube_pod_container_status_last_terminated_reason", "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas_available", "kube_statefulset_replicas", "kube_statefulset_status_replicas_ready",
    "kube_job_status_failed",
    # https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md
    "container_cpu_usage_seconds_total", "container_memory_working_set_bytes",
    "container_cpu_cfs_throttled_seconds_total", "container_network_receive_bytes_total",
    # https://prometheus.io/docs/concepts/jobs_instances/ and .../prometheus/latest/configuration/alerting_rules/
    "up", "ALERTS",
}  # fmt: skip
WORDS = {"and", "or", "unless", "on", "ignoring", "by", "without", "group_left", "group_right", "bool", "offset"}
VARIABLES = {"$__rate_interval": "5m", "$__range": "6h"}  # of Grafana, and what may stand for them

# Run by the project's own Python, in which the service is installed.
EXPORTED = """
import json
from serving.api.app import create_app
from serving.jobs import database
from serving.worker.metrics import Metrics

app = create_app()
database.upgrade(app.state.service.engine)
suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
registries = [app.state.service.metrics.registry, Metrics().registry]
metrics = [metric for registry in registries for metric in registry.collect()]
print(json.dumps([metric.name + suffix for metric in metrics for suffix in suffixes.get(metric.type, [""])]))
"""


def names(expression: str) -> set[str]:
    "Metrics that an expression of PromQL asks for."
    bare = re.sub(r'"[^"]*"|\'[^\']*\'', '""', expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    found = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])", bare)
    return {name for name in found if name not in WORDS and not re.fullmatch(r"\d.*|inf|Inf|nan|NaN", name)}


def expressions(dashboard: Path) -> Iterator[tuple[str, str]]:
    "(panel, expression) of a dashboard, without Grafana's variables."
    for panel in json.loads(dashboard.read_text())["panels"]:
        for target in panel["targets"]:
            text = target["expr"]
            for variable, value in VARIABLES.items():
                text = text.replace(variable, value)
            yield panel["title"], text


def rules(file: Path) -> list[dict[str, Any]]:
    "Rules of a file."
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def dashboards(root: Path) -> list[Path]:
    return sorted((root / "k8s/monitoring/grafana/dashboards").glob("*.json"))


def rule_files(root: Path) -> list[Path]:
    return sorted((root / "k8s/monitoring/prometheus/rules").glob("*.yml"))


def rule_tests(root: Path) -> list[Path]:
    return sorted((root / "k8s/monitoring/prometheus/tests").glob("*.test.yml"))


def untested(root: Path) -> list[str]:
    "Alerts that no test sees fire, or none sees silent."
    fires, silent = Counter[str](), Counter[str]()
    for file in rule_tests(root):
        for test in yaml.safe_load(file.read_text())["tests"]:
            for asked in test["alert_rule_test"]:
                (fires if asked.get("exp_alerts") else silent)[asked["alertname"]] += 1
    alerts = [rule["alert"] for file in rule_files(root) for rule in rules(file) if "alert" in rule]
    return [f"{alert}: found no test in which it {what}" for alert in alerts
            for what, count in (("fires", fires), ("is silent", silent)) if not count[alert]]  # fmt: skip


def undocumented(root: Path) -> list[str]:
    "Alerts whose runbook is not there, or that have no severity triage knows."
    page = (root / "docs/observability.md").read_text()
    anchors = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.+)$", page, re.M)}
    wrong = []
    for rule in (rule for file in rule_files(root) for rule in rules(file) if "alert" in rule):
        where, _, anchor = rule.get("annotations", {}).get("runbook_url", "").partition("#")
        if where != "docs/observability.md" or anchor not in anchors:
            wrong.append(f"{rule['alert']}: found runbook {where}#{anchor}; expected a heading of the page")
        if rule.get("labels", {}).get("severity") not in ("critical", "high", "warning"):
            wrong.append(f"{rule['alert']}: found severity {rule.get('labels')}; expected critical, high or warning")
    return wrong


def exported(root: Path) -> set[str]:
    "Names of the samples that the API and the side that answers tell, as they tell them."
    python = root / ".venv/bin/python"
    with tempfile.TemporaryDirectory() as folder:
        places = {"DATABASE_URL": f"sqlite:///{folder}/service.db", "STORE_RESULTS": folder, "STORE_MODELS": folder}
        done = subprocess.run(
            [python if python.exists() else sys.executable, "-c", EXPORTED], cwd=root, capture_output=True, text=True,
            env={**os.environ, "GEOCROP_HOME": str(root), **{f"GEOCROP_{k}": place for k, place in places.items()}},
        )  # fmt: skip
    if done.returncode:
        raise ValueError(f"the API: {done.stderr.strip()[-1000:]}")
    return set(json.loads(done.stdout.splitlines()[-1]))


def unknown(root: Path, known: set[str]) -> Iterator[str]:
    "What rules and panels ask for and nobody exports."
    ours = [(file, rule) for file in rule_files(root) for rule in rules(file)]
    recorded = {rule["record"] for _, rule in ours if "record" in rule}
    asked = [(file, rule.get("alert") or rule["record"], rule["expr"]) for file, rule in ours]
    asked += [(file, title, text) for file in dashboards(root) for title, text in expressions(file)]
    for file, title, text in asked:
        for name in sorted(names(text) - known - recorded - OTHERS):
            yield f"{file.name}, {title}: nobody exports {name}"


def _run(*command: str | Path) -> list[str]:
    "What a program has to complain of."
    done = subprocess.run(command, capture_output=True, text=True)
    return [] if done.returncode == 0 else [(done.stdout + done.stderr).strip()[-2000:]]


def configured(
    root: Path,
    folder: Path,  # Empty; files that a pod mounts are put there
) -> Path:
    "Prometheus' configuration with the paths of this machine, and without what Debian's build does not know."
    mounted = {
        "/etc/prometheus/rules": root / "k8s/monitoring/prometheus/rules",
        "/var/run/secrets/kubernetes.io/serviceaccount": folder,
    }
    text = (root / "k8s/monitoring/prometheus/prometheus.yml").read_text()
    for place, here in mounted.items():
        text = text.replace(place, str(here))
    page = yaml.safe_load(text)
    for job in page["scrape_configs"]:
        job.pop("kubernetes_sd_configs", None)
    for name in ("token", "ca.crt"):
        (folder / name).touch()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(page))
    return folder / "prometheus.yml"


def _missing(tool: str) -> list[str]:
    return [] if shutil.which(tool) else [f"no {tool}: apt-get install {PACKAGES[tool]}"]


def rows(root: Path, overlays: bool = True) -> Iterator[Row]:  # without kubectl: no overlays
    "Configurations, rules, their tests, runbooks, dashboards, policies."
    files, tests, no_promtool, no_amtool = rule_files(root), rule_tests(root), _missing("promtool"), _missing("amtool")
    every = [rule for file in files for rule in rules(file)]
    with tempfile.TemporaryDirectory() as folder:
        wrong = [] if no_promtool else _run("promtool", "check", "config", configured(root, Path(folder)))
    yield Row("Prometheus: rules", len(every), "promtool check config (but kubernetes_sd_configs)", wrong, no_promtool)
    wrong = [] if no_promtool else [problem for file in tests for problem in _run("promtool", "test", "rules", file)]
    checks = "promtool test rules; each alert fires in one and is silent in one"
    yield Row("Prometheus: tests of rules", len(tests), checks, wrong + untested(root), no_promtool)
    alerts = sum("alert" in rule for rule in every)
    yield Row("alerts", alerts, "a runbook in docs/observability.md, a severity", undocumented(root), [])
    config = root / "k8s/monitoring/alertmanager/alertmanager.yml"
    wrong = [] if no_amtool else _run("amtool", "check-config", config)
    yield Row("Alertmanager", 1, "amtool check-config", wrong, no_amtool)
    number = len(every) + sum(1 for file in dashboards(root) for _ in expressions(file))
    wrong = list(unknown(root, exported(root)))
    yield Row("expressions of rules and panels", number, "every metric that is asked for is exported", wrong, [])
    if overlays:
        yield _beside_production(root)


def _beside_production(root: Path) -> Row:
    pages = [*build(root / "k8s/overlays/production"), *build(root / "k8s/monitoring")]
    wrong = [text for policy in policies.POLICIES for text in policy(pages, "production")]
    return Row("monitoring beside production", len(pages), "all policies", wrong, [])
