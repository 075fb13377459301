"What the pipeline of the embedded season made. A clone that has not run it yet skips what needs it."

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def made(name: str) -> Path:
    "A file or a folder of results/."
    path = ROOT / "results" / name
    if not path.exists():
        pytest.skip(f"no embedded {name}: found no results/{name}; run: make repro")
    return path
