"""conftest.py itself: which notebooks are tests, that their failures count, and that no skip goes unnoticed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).parents[1]
TESTS = """
import os, signal
BEFORE = signal.getsignal(signal.SIGINT)  # at collection; a background job starts with it ignored
def test_of_real_data(shared_data):
    assert shared_data.is_dir()
def test_that_follows_the_notebooks():
    assert signal.getsignal(signal.SIGINT) is BEFORE
    assert "RAINS" not in os.environ
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    "A small repository under the same conftest.py."
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    lessons = {
        "nbs/00_good.ipynb": "import os\nassert os.path.basename(os.getcwd()) == 'nbs'\nos.environ['RAINS'] = 'late'",
        "nbs/10_bad.ipynb": "ndvi = 0.2\nassert ndvi > 0.5, 'bare soil'",
        "nbs/pipelines/01_stage.ipynb": "raise AssertionError('stages are no lessons')",
        "nbs/.ipynb_checkpoints/00_good.ipynb": "raise AssertionError('of yesterday')",
    }
    for name, code in lessons.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kernel = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}
        nbformat.write(new_notebook(cells=[new_code_cell(code)], metadata=kernel), path)
    (tmp_path / "tests/servers").mkdir(parents=True)
    (tmp_path / "tests/test_data.py").write_text(TESTS)
    return tmp_path


def run(house: Path, **environment: str) -> tuple[int, str]:
    clean = {k: v for k, v in os.environ.items() if k != "CI" and not k.startswith(("GEOCROP_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    ran = subprocess.run(command, cwd=house, capture_output=True, text=True, env={**clean, **environment})
    return ran.returncode, ran.stdout


def test_notebooks_count_and_a_skip_is_told(house: Path):
    code, said = run(house, CI="true", GEOCROP_SHARED=str(house / "nothing"))
    assert code == 1
    assert "1 failed, 2 passed, 1 skipped" in said
    assert "bare soil" in said  # the failing cell's own words
    assert f"no real data: found no {house}/nothing/data" in said.replace("\n", "")


def test_a_skip_fails_where_all_is_required(house: Path):
    (house / "nbs/10_bad.ipynb").unlink()
    code, said = run(house, GEOCROP_REQUIRE_ALL="1", GEOCROP_SHARED=str(house / "nothing"))
    assert code == 1
    assert "Nothing may be skipped here" in said
    assert "2 passed, 1 error" in said or "1 failed, 2 passed" in said
    (house / "shared/data").mkdir(parents=True)
    assert run(house, GEOCROP_REQUIRE_ALL="1", GEOCROP_SHARED=str(house / "shared"))[0] == 0
