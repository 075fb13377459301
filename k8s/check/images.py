"The images that we build: Dockerfile, base, locks."

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .table import Row

OURS = ("api", "worker", "lab")
USER = "10001:10001"  # above 10000, where no user of a node is
BASE = re.compile(r"[a-z0-9./_:-]+:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}\n")
PACKAGE = re.compile(r"^([a-z0-9._-]+==\S+)[^\n]*((?:\n    --hash=sha256:[0-9a-f]{64}[ \\]*)*)", re.M)


def rows(root: Path) -> Iterator[Row]:
    "A row for the Dockerfile, one for the locks."
    folder = root / "serving/images"
    yield Row(
        "targets of the Dockerfile",
        len(OURS),
        "hadolint, base by digest, user, HEALTHCHECK, CMD",
        [*linted(folder / "Dockerfile"), *based(folder / "base"), *targets(folder / "Dockerfile")],
        [],
    )
    locks = [folder / f"{name}.lock" for name in (*OURS, "build")]
    known = (root / "requirements.lock").read_text() + (root / "bootstrap.lock").read_text()
    problems = [problem for lock in locks for problem in locked(lock, known)]
    yield Row("locks of images", len(locks), "versions and hashes are those of requirements.lock", problems, [])


def linted(path: Path) -> list[str]:
    tool = Path(sys.executable).parent / "hadolint"
    ran = subprocess.run([tool, "--no-color", path], capture_output=True, text=True)
    found = ran.stdout.splitlines() + ran.stderr.splitlines()
    return found or ([] if ran.returncode == 0 else [f"hadolint ended with {ran.returncode}"])


def based(path: Path) -> list[str]:
    text = path.read_text()
    said = f"{path.name}: found {text.strip()}; expected NAME:TAG@sha256:... Run: .ci/pin"
    return [] if BASE.fullmatch(text) else [said]


def targets(path: Path) -> list[str]:
    "What a target lacks of what holds for all."
    sys.path.insert(0, str(path.parents[2]))
    from serving.images.dockerfile import images

    found, wrong = images(path.read_text()), []
    for name in OURS:
        if name not in found:
            wrong.append(f"{path.name}: no target {name}")
            continue
        image = found[name]
        wrong += [f"{name}: runs as {image.user or 'root'}; expected {USER}"] if image.user != USER else []
        wrong += [f"{name}: no HEALTHCHECK"] if not image.healthcheck else []
        wrong += [f"{name}: no CMD as a list"] if not image.command else []
        wrong += [f"{name}: ENV {key} looks like a secret" for key in image.env if re.search("SECRET|PASSW|TOKEN", key)]
    return wrong


def locked(path: Path, known: str) -> list[str]:
    "Packages of a lock that are others than those of the project's own, or have other hashes."
    if not path.is_file():
        return [f"{path.name}: not there. Run: make lock"]
    ours = dict(PACKAGE.findall(known))
    hashes = {name: set(re.findall(r"[0-9a-f]{64}", text)) for name, text in ours.items()}
    wrong = []
    for name, text in PACKAGE.findall(path.read_text()):
        here = set(re.findall(r"[0-9a-f]{64}", text))
        if hashes.get(name) != here or not here:
            wrong.append(f"{path.name}: {name} is not what requirements.lock has. Run: make lock")
    return wrong
