"""Argo: workflows whose parts are there and whose pods obey the house, and applications that lead somewhere.

What a name refers to no schema knows: templates, tasks, parameters, scripts, accounts, paths of this repository.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import yaml

from . import policies
from .kustomize import Document, build, name
from .schemas import pods_of_dask
from .table import Row

CRON = re.compile(r"(\*|[\d,/*-]+)( (\*|[\d,/*-]+)){4}")
# of policies over pods, those that a step of a workflow or a Dask cluster must keep as well
OF_PODS = (policies.images_are_pinned, policies.pods_are_unprivileged, policies.memory_is_bounded)


def pods(page: Document) -> Iterator[Document]:
    "The pods of a workflow's steps, as manifests of Kubernetes."
    spec = page["spec"]
    for template in spec["templates"]:
        if container := template.get("container"):
            metadata = spec.get("podMetadata", {}) | {"name": f"{page['metadata']['name']}.{template['name']}"}
            yield {
                "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
                "spec": {
                    "containers": [{"name": "main", **container}],
                    "securityContext": spec.get("securityContext", {}),
                    "automountServiceAccountToken": spec.get("automountServiceAccountToken"),
                    "priorityClassName": spec.get("podPriorityClassName"),
                    "volumes": spec.get("volumes", []),
                },
            }  # fmt: skip


def workflow(page: Document, pages: Iterable[Document]) -> Iterator[str]:
    "What a WorkflowTemplate refers to and lacks."
    spec, at = page["spec"], name(page)
    templates = {template["name"]: template for template in spec["templates"]}
    accounts = {p["metadata"]["name"] for p in pages if p["kind"] == "ServiceAccount"}
    files = {k for p in pages if p["kind"] == "ConfigMap" for k in p.get("data", {})}
    if spec["entrypoint"] not in templates:
        yield f"{at}: found entrypoint {spec['entrypoint']}; expected one of {', '.join(templates)}"
    if spec.get("automountServiceAccountToken") is not False:
        yield f"{at}: its steps mount a token; expected automountServiceAccountToken: false"
    if (account := spec.get("executor", {}).get("serviceAccountName")) not in accounts:
        yield f"{at}: found executor {account}; expected an account of {', '.join(sorted(accounts))}"
    if spec.get("podMetadata", {}).get("labels", {}).get("geocrop.io/needs-kubernetes") != "true":
        yield f"{at}: its executor cannot say how a step ended; expected the label geocrop.io/needs-kubernetes"
    given = {p["name"] for p in spec.get("arguments", {}).get("parameters", [])}
    for used in set(re.findall(r"workflow\.parameters\.([\w-]+)", yaml.dump(spec))) - given:
        yield f"{at}: uses parameter {used}, which is not given"
    for called, template in templates.items():
        inputs = {p["name"] for p in template.get("inputs", {}).get("parameters", [])}
        for used in set(re.findall(r"inputs\.parameters\.([\w-]+)", yaml.dump(template))) - inputs:
            yield f"{at}, {called}: uses input {used}, which it does not have"
        tasks = {task["name"]: task for task in template.get("dag", {}).get("tasks", [])}
        for task in tasks.values():
            yield from _task(f"{at}, {called}, {task['name']}", task, tasks, templates, files)


def _task(
    at: str, task: dict[str, Any], tasks: dict[str, Any], templates: dict[str, Any], files: set[str]
) -> Iterator[str]:
    if task["template"] not in templates:
        yield f"{at}: found template {task['template']}; expected one of {', '.join(templates)}"
        return
    for before in set(re.findall(r"[\w-]+(?=\.|\b)", re.sub(r"\.\w+", "", task.get("depends", "")))) - set(tasks):
        yield f"{at}: depends on {before}; expected one of {', '.join(tasks)}"
    passed = {p["name"]: p.get("value", "") for p in task.get("arguments", {}).get("parameters", [])}
    wanted = {
        p["name"] for p in templates[task["template"]].get("inputs", {}).get("parameters", []) if "value" not in p
    }
    if set(passed) != wanted:
        yield f"{at}: passes {sorted(passed)}; expected {sorted(wanted)}"
    if (script := passed.get("script")) and script not in files:
        yield f"{at}: found script {script}; expected one of {', '.join(sorted(files))}"


def submits(page: Document, templates: dict[str, Document]) -> Iterator[str]:
    "What a CronWorkflow or a WorkflowEventBinding starts, and when."
    spec, at = page["spec"], name(page)
    if page["kind"] == "CronWorkflow":
        for schedule in spec["schedules"]:
            if not CRON.fullmatch(schedule):
                yield f"{at}: found schedule {schedule!r}; expected five fields"
        if spec.get("timezone") not in available_timezones():
            yield f"{at}: found timezone {spec.get('timezone')}"
        if spec.get("concurrencyPolicy") != "Forbid":
            yield f"{at}: may run twice at once; expected concurrencyPolicy: Forbid"
    started = spec["workflowSpec"] if page["kind"] == "CronWorkflow" else spec["submit"]
    target = templates.get(started["workflowTemplateRef"]["name"])
    if target is None:
        yield f"{at}: found template {started['workflowTemplateRef']['name']}; expected one of {', '.join(templates)}"
        return
    known = {p["name"] for p in target["spec"]["arguments"]["parameters"]}
    for parameter in started.get("arguments", {}).get("parameters", []):
        if parameter["name"] not in known:
            yield f"{at}: passes {parameter['name']}; expected one of {', '.join(sorted(known))}"
    if page["kind"] == "WorkflowEventBinding" and "drift" in page["metadata"]["name"]:
        passed = {p["name"]: p.get("value") for p in started["arguments"]["parameters"]}
        if passed.get("approval") != "yes":
            yield f"{at}: starts without anybody's leave; expected approval: yes"


def application(page: Document, root: Path) -> Iterator[str]:
    "What Argo CD is told to deploy: it is there, and git alone decides about it."
    at = name(page)
    spec = page["spec"]["template"]["spec"] if page["kind"] == "ApplicationSet" else page["spec"]
    automated = spec.get("syncPolicy", {}).get("automated", {})
    if automated.get("prune") is not True or automated.get("selfHeal") is not True:
        yield f"{at}: found automated {automated}; expected prune and selfHeal"
    source = spec["source"]
    if "chart" in source and not re.fullmatch(r"v?\d+\.\d+\.\d+", source["targetRevision"]):
        yield f"{at}: found chart {source['chart']} {source['targetRevision']}; expected an exact version"
    for path in paths(page, source.get("path", "")):
        if not (root / path / "kustomization.yaml").is_file():
            yield f"{at}: found path {path}; expected a folder with kustomization.yaml"
    if page["metadata"]["name"] != "root" and "argocd.argoproj.io/sync-wave" not in page["metadata"].get(
        "annotations", {}
    ):
        yield f"{at}: found no sync wave"


def paths(page: Document, path: str) -> list[str]:
    "Paths that an application has, or an application set makes of its generators."
    if "{{" not in path:
        return [path] if path else []
    text = yaml.dump(page["spec"]["generators"])
    values = re.findall(r"part: (\w+)", text) if ".part" in path else _values(page["spec"]["generators"])
    return [re.sub(r"{{.*?}}", value, path) for value in values]


def _values(found: Any) -> list[str]:
    "Values of a selector, however deep."
    if isinstance(found, dict):
        return found.get("values", []) + [
            v for one in found.values() if isinstance(one, dict | list) for v in _values(one)
        ]
    return (
        [v for one in found for v in _values(one)]
        if isinstance(found, list) and found and isinstance(found[0], dict)
        else []
    )


def rows(root: Path) -> Iterator[Row]:
    "Workflows, Dask, applications."
    pages = build(root / "k8s/workflows")
    templates = {page["metadata"]["name"]: page for page in pages if page["kind"] == "WorkflowTemplate"}
    starters = [page for page in pages if page["kind"] in ("CronWorkflow", "WorkflowEventBinding")]
    wrong = [text for page in templates.values() for text in workflow(page, pages)]
    yield Row(
        "workflow templates", len(templates), "templates, tasks, parameters, scripts, accounts are there", wrong, []
    )
    wrong = [text for page in starters for text in submits(page, templates)]
    yield Row("cron and events", len(starters), "schedules, templates, parameters; drift asks first", wrong, [])
    steps = [pod for page in templates.values() for pod in pods(page)]
    steps += [pod for page in build(root / "k8s/dask") if page["kind"] == "DaskCluster" for pod in pods_of_dask(page)]
    wrong = [text for policy in OF_PODS for text in policy(steps, "workflows")]
    yield Row("pods of workflows and Dask", len(steps), "policies over pods", wrong, [])
    found = [*yaml.safe_load_all((root / "k8s/argocd/root.yaml").read_text()), *build(root / "k8s/argocd/apps")]
    apps = [page for page in found if page["kind"] in ("Application", "ApplicationSet")]
    wrong = [text for page in apps for text in application(page, root)]
    yield Row("Argo CD applications", len(apps), "paths and charts, prune and self-heal, waves", wrong, [])
