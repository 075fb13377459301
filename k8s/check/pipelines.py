"The pipelines: Gitea's workflows, and the scripts that their steps are."

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .table import Row

CHECKOUT = "checkout"  # name of the one step that is no script of the repository, since it fetches that


def rows(root: Path) -> Iterator[Row]:
    "A row for the workflows, one for the scripts."
    paths = sorted((root / ".gitea/workflows").glob("*.yaml"))
    checks = "actionlint, zizmor, steps are scripts, nobody else's actions, least permissions"
    problems = [*linted(root, paths), *(problem for path in paths for problem in kept(path, root)), *checkouts(paths)]
    yield Row("workflows of Gitea", len(paths), checks, problems, [])
    scripts = [path for path in sorted((root / ".ci").iterdir()) if path.is_file()]
    yield Row("scripts of .ci", len(scripts), "syntax", [p for path in scripts for p in parsed(path)], [])


def linted(root: Path, paths: list[Path]) -> list[str]:
    tools, found = Path(sys.executable).parent, []
    config = root / ".gitea/actionlint.yaml"
    for words in (
        [tools / "actionlint", "-no-color", "-oneline", "-config-file", config, *paths],
        [tools / "zizmor", "--offline", "--no-progress", "--quiet", "--persona=pedantic", "--format=plain", *paths],
    ):
        ran = subprocess.run(words, cwd=root, capture_output=True, text=True)
        if ran.returncode:
            found += [line for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
            found += [f"{words[0].name} ended with {ran.returncode}"]
    return found


def steps(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    "Where, and what, each step of a workflow is."
    for name, job in yaml.safe_load(path.read_text())["jobs"].items():
        for number, step in enumerate(job["steps"]):
            yield f"{path.name}, job {name}, step {number + 1}", step


def kept(path: Path, root: Path) -> Iterator[str]:
    "What a workflow does that it should not."
    page = yaml.safe_load(path.read_text())
    if page.get("permissions") != {"contents": "read"}:
        yield f"{path.name}: permissions are {page.get('permissions')}; expected contents: read, and more by job"
    made = set(re.findall(r"^([a-z][a-z-]*):", (root / "Makefile").read_text(), re.M))
    for where, step in steps(path):
        if "uses" in step:
            yield f"{where}: uses {step['uses']}, an action of others"
        elif step.get("name") != CHECKOUT:
            words = str(step.get("run", "")).split()
            script = bool(words) and words[0].startswith(".ci/") and (root / words[0]).is_file()
            target = len(words) > 1 and words[0] == "make" and words[1] in made
            if not (script or target) or "\n" in step["run"].strip() or "${{" in step["run"]:
                yield f"{where}: {step.get('run')!r} is no script of .ci and no target of make"


def checkouts(paths: list[Path]) -> Iterator[str]:
    "Each job begins with the same checkout."
    texts = set()
    for path in paths:
        first = {where.rpartition(",")[0]: step for where, step in reversed([*steps(path)])}
        for where, step in first.items():
            texts.add(str(step.get("run")))
            if step.get("name") != CHECKOUT:
                yield f"{where}: does not begin with {CHECKOUT}"
    if len(texts) > 1:
        yield f"{CHECKOUT}: {len(texts)} versions of it; expected one"


def parsed(path: Path) -> Iterator[str]:
    "What keeps a script from being read."
    text = path.read_text()
    if path.suffix == ".py":
        try:
            compile(text, path.name, "exec")
        except SyntaxError as error:
            yield f"{path.name}: {error}"
        return
    shell = "bash" if text.startswith("#!/usr/bin/env bash") else "sh"
    ran = subprocess.run([shell, "-n", path], capture_output=True, text=True)
    if ran.returncode or not text.startswith("#!"):
        yield f"{path.name}: {ran.stderr.strip() or 'no #!'}"
    if not path.stat().st_mode & 0o100:
        yield f"{path.name}: cannot be executed"
    if not re.search(r"^set -[eu]*u", text, re.M):
        yield f"{path.name}: no set -eu"
