"A worker on a machine that is too small, on imagery that is damaged, with a store that does not write."

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from runners import FILES, LIMITS, WHOLE, Watched, left, until
from sqlalchemy import Engine

from geocrop.settings import Store
from serving.jobs import jobs
from serving.jobs.models import Model
from serving.worker.bell import Bell
from serving.worker.leash import Leash
from serving.worker.worker import Worker

ROOT = Path(__file__).parents[2]


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    "What goes wrong here has nothing to do with the kind of database."
    return sqlite_url


def test_a_damaged_scene_is_named_and_the_job_fails_alone(
    engine: Engine, work: Callable, ask: Callable, season: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = shutil.copytree(season, tmp_path / "season", copy_function=os.link)
    band = sorted(copy.glob("s2_l2a/*_2023011*/B04.tif"))[0]
    content = bytearray(band.read_bytes())
    content[2000:-10] = bytes(len(content) - 2010)
    band.unlink()
    band.write_bytes(content)
    monkeypatch.setenv("GEOCROP_CATALOGUE_HREF", str(copy / "catalog.json"))
    other = Leash()
    try:
        worker, job = work(leash=other), ask(WHOLE)
        assert worker.run_next()
    finally:
        other.close()
    job = jobs.get(engine, job.id)
    assert job.status == "failed" and job.error and band.parent.name in job.error["found"]


def test_a_poisoned_job_fails_at_last(engine: Engine, places: Store, work: Callable, ask: Callable, ready: Watched):
    worker, job = work(replace(LIMITS, attempts=1)), ask()
    ready.when["mapping"] = lambda: ready.send(signal.SIGKILL)
    assert worker.run_next()
    job = jobs.get(engine, job.id)
    assert job.status == "failed" and job.error and job.error["found"] == "killed by SIGKILL"
    assert left(places, job) == {"1/log.txt"}


def test_a_job_without_memory_fails_alone(engine: Engine, work: Callable, ask: Callable, ready: Watched):
    worker, job, fine = work(), ask(WHOLE), ask()
    assert ready.pid
    status = Path(f"/proc/{ready.pid}/status").read_text()
    data_kb = int(status.split("VmData:")[1].split()[0])
    limit = 1024 * data_kb + 5_000_000  # what it has now, and hardly more
    resource.prlimit(ready.pid, resource.RLIMIT_DATA, (limit, limit))
    pid = ready.pid
    assert worker.run_next()
    job = jobs.get(engine, job.id)
    assert job.status == "failed" and job.error and job.error["thing"] == "Memory of the worker"
    assert "smaller area" in job.error["remedy"]
    assert worker.run_next() and ready.pid != pid
    assert jobs.get(engine, fine.id).status == "successful"


@pytest.mark.parametrize("left_kb", [300, 0])
def test_a_full_disk_is_said_and_the_worker_lives(
    left_kb: int,
    engine: Engine,
    work: Callable,
    ask: Callable,
    ready: Watched,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    "With some room, that is too little for the map, and with none, not even for a line of the log."
    small, size = tmp_path / "disk", "size=300k"
    small.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", small], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk to fill up: mount says {done.stderr.strip()!r}; it takes root")
    try:
        with suppress(OSError):
            (small / "ballast").write_bytes(bytes(1024 * (300 - left_kb)))
        worker, job, fine, pid = work(), ask(WHOLE), ask(), ready.pid
        with monkeypatch.context() as patch:
            patch.setattr("tempfile.tempdir", str(small))
            assert worker.run_next()
        job = jobs.get(engine, job.id)
        assert job.status == "failed" and job.error and "MB free on the disk" in job.error["found"]
        assert [path.name for path in small.iterdir()] == ["ballast"]
        assert worker.run_next() and ready.pid == pid
        assert jobs.get(engine, fine.id).status == "successful"
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)


def test_a_store_that_does_not_write_is_tried_again(
    engine: Engine, places: Store, work: Callable, ask: Callable, tmp_path: Path
):
    worker, job = work(), ask()
    (tmp_path / "file").touch()
    worker.store = replace(places, results=str(tmp_path / "file" / "results"))  # below a file no folder can be
    assert worker.run_next()
    now = jobs.get(engine, job.id)
    assert (now.status, now.lost) == ("accepted", 1)
    worker.store = places
    until(worker.run_next)
    assert jobs.get(engine, job.id).status == "successful"


def test_results_may_lie_in_a_bucket(engine: Engine, places: Store, ask: Callable, s3_url: str):
    leash, job = Leash(), ask()
    try:
        worker = Worker(engine, replace(places, results=s3_url), LIMITS, bell=Bell(), leash=leash)
        assert worker.run_next()
    finally:
        leash.kill()
        leash.close()
    done = jobs.get(engine, job.id)
    assert done.status == "successful" and done.result and set(done.result["files"]) == FILES
    assert worker.results.read(done, "map.stats.json") and worker.results.log(done, 1)


def test_the_supervising_process_imports_no_science():
    code = "import sys, serving.worker.worker, serving.worker.wake, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"numba", "xgboost", "lightgbm", "catboost", "mlflow", "rasterio", "pandas", "xarray", "sklearn"}
    assert not heavy & set(json.loads(done.stdout))


def test_a_runner_ends_with_its_worker(model: Model):
    "Even one that is killed, and has no time to say goodbye."
    code = """if True:
        import time
        from serving.worker.leash import Leash
        leash = Leash()
        leash.ready()
        print(leash.pid, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        pid = int(worker.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        worker.kill()
        worker.wait()
        until(lambda: not Path(f"/proc/{pid}").exists(), 60)
