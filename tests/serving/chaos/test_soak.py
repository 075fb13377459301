"The load bench, for a moment: many jobs, many pollers."

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pipeline import made

ROOT = Path(__file__).parents[3]


def test_a_thousand_jobs_and_two_hundred_pollers(tmp_path: Path, did: Callable[[str], None]):
    "1,000 queued jobs and 200 pollers: no error, flat memory (bench/serving.py for 20 s)"
    if missing := [name for name in ("wrk", "redis-server") if shutil.which(name) is None]:
        pytest.skip(f"no {' and no '.join(missing)}: apt-get install {' '.join(missing)}")
    made("model")
    path = tmp_path / "told.json"
    command = [sys.executable, ROOT / "bench/serving.py", "--part", "soak", "--minutes", "0.33", "--json", path]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    told = json.loads(path.read_text())["soak"]
    assert told["requests"] > 0 and told["refused"] == told["broken"] == told["failed"] == 0
    memory = f"{told['settled_mb']:.0f} MB, {told['last_mb']:.0f} at last"
    did(f"{told['requests']:.0f} requests, p99 {told['p99_ms']:.0f} ms, memory {memory}")
