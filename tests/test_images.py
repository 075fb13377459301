"The images of the service as far as they can be had without an engine: steps, contents, and what they do together."

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from serving.images import exercise
from serving.images.dockerfile import images

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "k8s"))
from check import images as checked  # noqa: E402

EXTRAS = {"api": {"serving"}, "worker": {"science", "serving"}, "lab": {"lab", "serving"}}
LEFT_OUT = "rfc3987-syntax"  # by [tool.uv] of pyproject.toml
LOCKED_FOR = {"python_version": "3.11", "python_full_version": "3.11.0"}  # as make lock says


def test_what_the_dockerfile_says_is_read():
    found = images((ROOT / "serving/images/Dockerfile").read_text())
    assert found["api"].command == ("python", "-m", "serving.api")
    assert found["api"].env["GEOCROP_API_EMBEDDED"] == "no" and "NUMBA_CACHE_DIR" not in found["api"].env
    assert found["worker"].env["NUMBA_CACHE_LOCATOR_CLASSES"] == "serving.worker.kernels.Baked"  # of the stage below
    assert found["worker"].run == (("python", "-m", "serving.worker.bake"),) and not found["api"].run


def test_the_images_of_the_service_install_start_and_work_together():
    "All of it in one: what takes long is to install and to compile."
    found = exercise.exercise()
    assert found["api"]["megabytes"] < found["worker"]["megabytes"] / 2


KERNEL = "from numba import njit\n\n@njit(cache=True)\ndef twice(x):\n    return 2 * x\n"
USE = """if True:
    import sys
    from pathlib import Path
    from serving.worker import bake
    bake.KERNELS = Path(sys.argv[1])
    from kernel import twice
    assert twice(21) == 42
    print(*(sum(counted.values()) for counted in (twice.stats.cache_hits, twice.stats.cache_misses)))
"""


def test_kernels_of_an_image_are_used_where_only_a_copy_can_be_written(tmp_path: Path):
    (tmp_path / "kernel.py").write_text(KERNEL)
    baked, copy = tmp_path / "baked", tmp_path / "tmp/numba"

    def used(**more: str) -> str:
        env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "NUMBA_CACHE_DIR": str(copy), **more}
        ran = subprocess.run([sys.executable, "-c", USE, baked], env=env, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    locator = {"NUMBA_CACHE_LOCATOR_CLASSES": "serving.worker.kernels.Baked"}
    assert used(NUMBA_CACHE_DIR=str(baked)) == "0 1"  # the build compiles
    files = {path: path.stat().st_mtime_ns for path in baked.rglob("*")}
    assert used() == "0 1"  # what happens without
    shutil.rmtree(copy)
    assert used(**locator) == "1 0"
    assert {path: path.stat().st_mtime_ns for path in baked.rglob("*")} == files
    assert len([*copy.iterdir()]) == 1  # nothing is left of the copying
    (tmp_path / "kernel.py").write_text(KERNEL.replace("2 * x", "x + x"))
    assert used(**locator) == "0 1"  # other code: compiled, into the copy
    assert used(**locator) == "1 0"


def needed(extras: set[str]) -> set[str]:
    "Packages that this project with some of its extras needs, by what is installed here."
    found, ahead = set[str](), [("geocrop", frozenset(extras))]
    seen = set[tuple[str, frozenset[str]]]()
    while ahead:
        name, asked = ahead.pop()
        if (name, asked) in seen:
            continue
        seen.add((name, asked))
        for requirement in map(Requirement, requires(name) or []):
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra, **LOCKED_FOR}) for extra in asked or {""}):
                continue
            below = canonicalize_name(requirement.name)
            if below not in ("geocrop", LEFT_OUT):
                found.add(below)
            if below != LEFT_OUT:
                ahead.append((below, frozenset(requirement.extras)))
    return found


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_holds_what_its_image_needs_and_no_more(name: str):
    lock = (ROOT / f"serving/images/{name}.lock").read_text()
    assert set(re.findall(r"^([a-z0-9._-]+)==", lock, re.M)) == needed(EXTRAS[name]), "Run: make lock"


def test_the_locks_of_the_images_are_parts_of_the_project_s_own():
    known = (ROOT / "requirements.lock").read_text() + (ROOT / "bootstrap.lock").read_text()
    for name in (*EXTRAS, "build"):
        assert not checked.locked(ROOT / f"serving/images/{name}.lock", known)
