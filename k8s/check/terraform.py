"""Terraform makes two namespaces, quotas and limits: nothing else, and in words that the provider knows.

Terraform itself and its provider come from a registry of their own; what the provider takes is known from its generated
TypeScript (the same version, 2.38.0), in which each resource is written out as a literal of its type.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2

from .schemas import compiled
from .table import Row

Block = dict[str, Any]
ALLOWED = {  # resource -> module of its type
    "kubernetes_namespace_v1": "namespace-v1",
    "kubernetes_resource_quota_v1": "resource-quota-v1",
    "kubernetes_limit_range_v1": "limit-range-v1",
}
TYPES = "@cdktf/provider-kubernetes"
NAMESPACES = {"geocrop": "restricted", "argocd": "baseline"}  # and the pod security that each enforces
VERSION = "2.38.0"  # of the provider that TYPES was made from
REPEATED = {"limit"}  # blocks of which there may be several
MAPS = {"labels", "annotations", "hard", "default", "default_request", "max", "min"}  # their keys are the user's
FRAMEWORK = """declare module "cdktf" {
  interface TerraformMetaArguments { dependsOn?: string[] }
  interface IResolvable { readonly creationStack: string[] }
}"""


def read(folder: Path) -> Block:
    "All files of a folder as one: section -> list of blocks."
    found: Block = {}
    for path in sorted(folder.glob("*.tf")):
        with path.open() as file:
            for section, blocks in hcl2.load(file).items():
                found.setdefault(section, []).extend(blocks)
    return found


def resources(read: Block) -> Iterator[tuple[str, str, Block]]:  # Kind, name, body
    "Every resource."
    for block in read.get("resource", []):
        for kind, named in block.items():
            for called, body in named.items():
                yield kind, called, body


def literal(body: Any, key: str = "") -> Any:
    "A body as the provider's TypeScript writes it: names in camel case, a block that comes once not as a list."
    if isinstance(body, dict):
        keep = key in MAPS
        return {
            k if keep else re.sub(r"_(\w)", lambda m: m[1].upper(), k): literal(v, k)
            for k, v in body.items()
            if not k.startswith("__")
        }
    if isinstance(body, list):
        return [literal(one) for one in body] if key in REPEATED or len(body) != 1 else literal(body[0], key)
    return body


def problems(read: Block) -> Iterator[str]:
    "What it makes beyond what is agreed, or lacks."
    for section in set(read) - {"resource", "terraform", "provider", "variable"}:
        yield f"{section}: expected namespaces, quotas and limits alone"
    found = list(resources(read))
    for kind, called, _ in found:
        if kind not in ALLOWED:
            yield f"{kind}.{called}: expected one of {', '.join(ALLOWED)}"
    named = {
        literal(body)["metadata"]["name"]: literal(body)["metadata"] for k, _, body in found if k in list(ALLOWED)[:1]
    }
    if set(named) != set(NAMESPACES):
        yield f"namespaces: found {', '.join(sorted(named))}; expected {', '.join(sorted(NAMESPACES))}"
    for one, level in NAMESPACES.items():
        enforced = named.get(one, {}).get("labels", {}).get("pod-security.kubernetes.io/enforce")
        if enforced != level:
            yield f"namespace {one}: found pod security {enforced}; expected {level}"
        for kind in list(ALLOWED)[1:]:
            inside = [
                c for k, c, body in found if k == kind and f".{one}." in str(literal(body)["metadata"].get("namespace"))
            ]
            if not inside:
                yield f"namespace {one}: found no {kind}"
    pinned = [p["kubernetes"][0]["version"] for t in read.get("terraform", []) for p in t.get("required_providers", [])]
    if pinned != [VERSION]:
        yield f"provider kubernetes: found version {pinned}; expected {VERSION}, whose types are checked"
    known = [(k, c, body) for k, c, body in found if k in ALLOWED]
    values = [(_type(kind), f"{TYPES}/lib/{ALLOWED[kind]}/index.js", literal(body)) for kind, _, body in known]
    for number, text in compiled(values, FRAMEWORK):
        yield f"{'.'.join(known[number][:2]) if number >= 0 else TYPES}: {text}"


def _type(kind: str) -> str:
    return "".join(word.capitalize() for word in kind.removeprefix("kubernetes_").split("_")) + "Config"


def rows(root: Path) -> Iterator[Row]:
    "The folder k8s/terraform."
    made = read(root / "k8s/terraform")
    count = len(list(resources(made)))
    checks = f"two namespaces, quotas, limits, nothing else; types of provider {VERSION}"
    yield Row("terraform resources", count, checks, list(problems(made)), [])
