"What Checkov says of the manifests, but for what is otherwise here on purpose: each exception with its reason."

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from .kustomize import TOOLS, build
from .table import Row

FOLDERS = ("overlays/production", "overlays/edge", "monitoring")  # the other overlays hold what these hold
READERS = ("kube-state-metrics", "prometheus", "triage")
EXCEPT: dict[str, tuple[str, tuple[str, ...]]] = {  # check -> reason, and the only names it is good for; none: all
    "CKV_K8S_35": ("settings come from the environment, secrets among them, as geocrop.settings reads them", ()),
    "CKV_K8S_43": ("images of ours are named by git revision; those of others have digests: images_are_pinned", ()),
    "CKV_K8S_15": ("a version, a revision and a digest name one image for ever: to ask again is of no use", ()),
    "CKV_K8S_8": ("a worker listens to nobody; its lease says whether it lives", ("worker",)),
    "CKV_K8S_9": ("likewise", ("worker",)),
    "CKV_K8S_38": ("they read the cluster, and may do nothing else: tokens_are_for_readers", READERS),
}


def rows(root: Path) -> Iterator[Row]:
    "One run over what is deployed."
    with tempfile.TemporaryDirectory() as folder:
        for name in FOLDERS:
            Path(folder, name.replace("/", "-") + ".yaml").write_text(yaml.safe_dump_all(build(root / "k8s" / name)))
        words = [
            "--framework",
            "kubernetes",
            "--skip-download",
            "--compact",
            "--quiet",
            "--soft-fail",
            "--output",
            "json",
        ]
        done = subprocess.run([TOOLS / "checkov", "-d", folder, *words], capture_output=True, text=True)
    page = json.loads(done.stdout)
    summary, failed = page["summary"], page["results"]["failed_checks"]
    wrong = [f"found {summary['parsing_errors']} files that cannot be read"] if summary["parsing_errors"] else []
    used = set()
    for found in failed:
        check, resource = found["check_id"], found["resource"]
        reason, names = EXCEPT.get(check, ("", ("",)))
        if reason and (not names or resource.rpartition(".")[2] in names):
            used.add(check)
        else:
            wrong.append(f"{resource}: {check} {found['check_name']}")
    wrong += [f"{check} is excepted, but nothing fails it" for check in sorted(EXCEPT.keys() - used)]
    count = summary["passed"] + summary["failed"]
    checks = (
        f"Checkov {summary['checkov_version']}; {len(EXCEPT)} rules are excepted, with reasons, {len(failed)} times"
    )
    yield Row("checkov results", count, checks, wrong, [])
