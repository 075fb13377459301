"Manifests as kustomize builds them."

import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]
TOOLS = Path(__file__).parent / ".venv" / "bin"


def folders(root: Path) -> list[Path]:
    "Folders of k8s/ that are built for themselves: overlays, and what is deployed beside them."
    found = [path.parent for path in (root / "k8s").glob("overlays/*/kustomization.yaml")]
    found += [path.parent for path in (root / "k8s").glob("*/kustomization.yaml") if path.parent.name not in PARTS]
    return sorted([*found, *(path.parent for path in (root / "k8s").glob("argocd/*/kustomization.yaml"))])


PARTS = ("base", "images", "release")  # of overlays; they are not built alone


@lru_cache
def _built(folder: Path) -> str:
    kubectl = TOOLS / "kubectl"
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
    if done.returncode or done.stderr:  # a warning, of a deprecated field for one, is worth a look as well
        raise ValueError(f"{folder.name}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def build(folder: Path) -> list[Document]:
    "All manifests of a folder, fresh copies. ValueError where kustomize has something to say."
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [page for page in yaml.load_all(_built(folder), loader) if page]


def name(page: Document) -> str:
    "Kind and name, as messages say it."
    return f"{page.get('kind')}/{page.get('metadata', {}).get('name')}"


if __name__ == "__main__":  # to look at what is built: python -m check.kustomize FOLDER
    sys.stdout.write(_built(Path(sys.argv[1])))
