"Every folder builds, and what is built is what Kubernetes and its operators know."

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from . import schemas
from .kustomize import Document, build, folders
from .table import Row


def rows(root: Path) -> Iterator[Row]:
    "Builds; then each manifest once, however many overlays hold it."
    seen = dict[str, Document]()
    wrong = list[str]()
    for folder in folders(root):
        label = str(folder.relative_to(root / "k8s"))
        try:
            pages = build(folder)
        except ValueError as error:
            wrong.append(f"{label}: {error}")
            continue
        twice = [one for one, count in Counter(_identity(page) for page in pages).items() if count > 1]
        wrong += [f"{label}: {kind}/{called} is there twice" for _, kind, _, called in twice]
        seen |= {json.dumps(page, sort_keys=True): page for page in pages}
    yield Row("kustomize builds", len(folders(root)), "kubectl 1.37, no warning, nothing twice", wrong, [])
    wrong_by = schemas.problems(seen.values())
    kinds = Counter(schemas.checked_by(page) for page in seen.values())
    for by, tool in schemas.TOOLS.items():
        yield Row(f"manifests: {by}", kinds[by], tool, wrong_by[by], [])
    if unknown := wrong_by["nothing"]:
        yield Row("manifests: other", len(unknown), "a schema is known", [], unknown)


def _identity(page: Document) -> tuple[str, str, str, str]:
    meta = page.get("metadata", {})
    return page.get("apiVersion", ""), page.get("kind", ""), meta.get("namespace", ""), meta.get("name", "")
