"What a worker does with a job, and with one that goes wrong: each test with a real process that makes real maps."

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import asked
import pytest
from bundles import guessing
from serving.jobs.jobs import Job
from serving.jobs.models import Model
from serving.jobs.users import User
from sqlalchemy import Engine

from geocrop.schema import StoreError
from geocrop.settings import Jobs, Store
from geocrop.store import bucket
from serving.jobs import jobs, models, workers
from serving.worker.bell import Bell
from serving.worker.leash import Leash
from serving.worker.worker import Worker

ROOT = Path(__file__).parents[2]
LIMITS = Jobs(lease_s=20, heartbeat_s=0.2, reconcile_s=1, deadline_s=60, attempts=3)
SMALL = (31.05, -17.83, 300.0)
WHOLE = (31.05, -17.83, 2000.0)
FILES = {"map.tif", "map.tif.aux.xml", "map.qml", "map.json", "map.stats.json"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    "Where runners find models, and the environment that tells them so."
    folder = tmp_path_factory.mktemp("store")
    found = Store(models=str(folder / "models"), results=str(folder / "results"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOCROP_HOME", str(ROOT))
        patch.setenv("GEOCROP_STORE_MODELS", found.models)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield found


@pytest.fixture(scope="module")
def model(store: Store, tmp_path_factory: pytest.TempPathFactory, season: Path) -> Model:
    "A champion of the store."
    where = bucket(store.models, make=True)
    made = models.put(where, guessing(tmp_path_factory.mktemp("bundle") / "model"), "zimbabwe_embedded", "1")
    models.point(where, made)
    return made


class Watched(Leash):
    "A leash that does something when its runner says something."

    def __init__(self) -> None:
        super().__init__()
        self.when: dict[str, Callable[[], object]] = {}  # Beginning of a message -> what is done then, once

    def hear(self) -> dict | None:
        said = super().hear()
        for begin in [begin for begin in self.when if (said or {}).get("message", "").startswith(begin)]:
            self.when.pop(begin)()
        return said

    def send(self, number: signal.Signals) -> None:
        assert self.pid
        os.kill(self.pid, number)


@pytest.fixture(scope="module")
def leash(model: Model) -> Iterator[Watched]:
    "A runner that most tests share; some kill it."
    found = Watched()
    yield found
    found.close()


@pytest.fixture
def ready(leash: Watched) -> Watched:
    "The same, waiting for a job."
    leash.ready()
    leash.when.clear()
    return leash


@pytest.fixture
def work(engine: Engine, store: Store, ready: Watched) -> Iterator[Callable[..., Worker]]:
    "A worker with the shared runner, or another."
    made: list[Worker] = []

    def start(limits: Jobs = LIMITS, leash: Leash = ready) -> Worker:
        made.append(Worker(engine, store, limits, bell=Bell(), leash=leash))
        made[-1].heart.start()
        return made[-1]

    yield start
    for worker in made:
        worker.heart.stop()


@pytest.fixture
def ask(engine: Engine, admin: User, model: Model) -> Callable[..., Job]:
    "Submit a job."
    return lambda aoi=SMALL, **how: asked.job(engine, admin, aoi, **{"model": model, **how})


def until(is_so: Callable[[], object], patience_s: float = 20) -> None:
    end = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def left(store: Store, job: Job) -> set[str]:
    "Names of the files of a job in the store, as attempt/name."
    folder = Path(store.results, "results", job.id)
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def during(run: Callable[[], object], deed: Callable[[], object]) -> None:
    "Run something here while a thread does something else, which must not fail."
    failed: list[BaseException] = []

    def safely() -> None:
        try:
            deed()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=safely)
    thread.start()
    run()
    thread.join()
    assert not failed, failed


# --- what goes right -------------------------------------------------------------------------------------------------


def test_a_job_is_published_with_its_files_its_numbers_and_its_log(
    engine: Engine, store: Store, work: Callable, ask: Callable
):
    worker, job = work(), ask()
    assert worker.run_next() and not worker.run_next()
    job = jobs.get(engine, job.id)
    assert (job.status, job.progress, job.attempt, job.error) == ("successful", 100, 1, None)
    assert job.result and set(job.result["files"]) == FILES
    assert left(store, job) == {f"1/{name}" for name in FILES | {"log.txt"}}
    page = json.loads(worker.results.read(job, "map.stats.json"))
    assert job.result["summary"]["hectares_counted"] == page["hectares_counted"]
    assert sum(page["hectares_counted"].values()) == pytest.approx(28.2, abs=0.5)  # pi 0.3 km squared
    assert job.result["measured"]["pixels"] > 3600 and job.result["measured"]["peak_mb"] > 100
    log = worker.results.log(job, 1).decode()
    assert job.id in log and "most memory at once" in log
    assert workers.alive(engine, 20) == [worker.name]


def test_progress_is_told_while_the_job_runs(engine: Engine, work: Callable, ask: Callable, ready: Watched):
    told: list[tuple[int, str]] = []

    def look() -> None:
        until(lambda: jobs.get(engine, job.id).message.startswith("mapping"))
        found = jobs.get(engine, job.id)
        told.append((found.progress, found.status))
        ready.send(signal.SIGCONT)

    job = ask()
    ready.when["mapping"] = lambda: ready.send(signal.SIGSTOP)
    during(work().run_next, look)
    assert 0 < told[0][0] < 90 and told[0][1] == "running"
    assert jobs.get(engine, job.id).status == "successful"


def test_a_new_champion_maps_new_jobs_and_the_old_one_those_that_were_asked_of_it(
    engine: Engine, store: Store, work: Callable, ask: Callable, model: Model, ready: Watched, tmp_path: Path
):
    old = ask()
    where, folder = bucket(store.models), shutil.copytree(ROOT / "results/model", tmp_path / "new")
    new = models.put(where, folder, "zimbabwe_embedded", "2")
    models.point(where, new)
    try:
        younger, worker, pid = ask(model=models.champion(where, "zimbabwe_embedded")), work(), ready.pid
        while worker.run_next():
            pass
    finally:
        models.point(where, model)
    for job, made_by in ((old, model), (younger, new)):
        item = json.loads(worker.results.read(jobs.get(engine, job.id), "map.json"))
        assert item["properties"]["geocrop:model_sha256"] == made_by.sha256
    assert ready.pid == pid  # the same process has both


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_job_without_scenes_fails_alone(engine: Engine, work: Callable, ask: Callable, ready: Watched):
    nowhere, fine, worker, pid = ask((20.0, -17.83, 300.0)), ask(), work(), ready.pid
    assert worker.run_next() and worker.run_next()
    job = jobs.get(engine, nowhere.id)
    assert job.status == "failed" and job.error and job.error["kind"] == "ItemsError" and job.error["remedy"]
    assert b"Traceback" in worker.results.log(job, 1)
    assert jobs.get(engine, fine.id).status == "successful" and ready.pid == pid


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


def test_a_dismissed_job_is_killed_within_a_heartbeat_and_leaves_nothing(
    engine: Engine, store: Store, work: Callable, ask: Callable, admin: User, ready: Watched
):
    job, pid, took = ask(), ready.pid, []

    def dismiss() -> None:
        until(lambda: jobs.get(engine, job.id).status == "running")
        jobs.dismiss(engine, job.id, admin)
        begin = time.monotonic()
        until(lambda: not Path(f"/proc/{pid}/stat").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split())
        took.append(time.monotonic() - begin)

    ready.send(signal.SIGSTOP)  # hung: it hears no request to stop
    during(work().run_next, dismiss)
    assert took[0] < LIMITS.heartbeat_s + 1
    assert jobs.get(engine, job.id).status == "dismissed"
    assert left(store, job) == {"1/log.txt"}


def test_a_job_that_hangs_is_killed_at_its_deadline_and_the_next_one_runs(
    engine: Engine, work: Callable, ask: Callable, ready: Watched
):
    worker, job, fine = work(replace(LIMITS, deadline_s=0.5)), ask(), ask()
    ready.send(signal.SIGSTOP)
    begin = time.monotonic()
    worker.run_next()
    assert time.monotonic() - begin < 5
    job = jobs.get(engine, job.id)
    assert job.status == "failed" and job.error and job.error["found"] == "no end after 0.5 s"
    worker.heart.limits = LIMITS
    assert worker.run_next()
    assert jobs.get(engine, fine.id).status == "successful"


def test_a_runner_that_crashes_is_tried_again_and_its_log_says_where(
    engine: Engine, work: Callable, ask: Callable, ready: Watched
):
    worker, job = work(), ask()
    ready.when["mapping"] = lambda: ready.send(signal.SIGSEGV)
    assert worker.run_next()
    between = jobs.get(engine, job.id)
    assert (between.status, between.attempt, between.lost) == ("accepted", 1, 1)
    assert b"Segmentation fault" in worker.results.log(job, 1)
    until(worker.run_next)  # after a pause
    assert (jobs.get(engine, job.id).status, jobs.get(engine, job.id).attempt) == ("successful", 2)


def test_a_poisoned_job_fails_at_last(engine: Engine, store: Store, work: Callable, ask: Callable, ready: Watched):
    worker, job = work(replace(LIMITS, attempts=1)), ask()
    ready.when["mapping"] = lambda: ready.send(signal.SIGKILL)
    assert worker.run_next()
    job = jobs.get(engine, job.id)
    assert job.status == "failed" and job.error and job.error["found"] == "killed by SIGKILL"
    assert left(store, job) == {"1/log.txt"}


def test_a_worker_that_was_given_up_publishes_nothing(
    engine: Engine, store: Store, work: Callable, ask: Callable, ready: Watched
):
    "Its lease ran out while it could say nothing; another attempt is under way when it comes back."
    deaf = work(replace(LIMITS, lease_s=0.5, heartbeat_s=3600))
    job, other = ask(), "another worker"

    def take_over() -> None:
        until(lambda: jobs.get(engine, job.id).status == "running")
        until(lambda: jobs.reconcile(engine, LIMITS).retried)
        until(lambda: jobs.claim(engine, other, 60))
        ready.send(signal.SIGCONT)

    ready.when["storing"] = lambda: ready.send(signal.SIGSTOP)
    deaf.heart._due = float("inf")  # it tells nothing until it is too late
    deaf.heart._until = float("inf")
    ready.send(signal.SIGSTOP)
    during(deaf.run_next, take_over)
    now = jobs.get(engine, job.id)
    assert (now.status, now.attempt, now.lease_owner, now.result) == ("running", 2, other, None)
    assert left(store, job) == {"1/log.txt"}


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


def test_a_full_disk_is_said_and_the_worker_lives(
    engine: Engine, work: Callable, ask: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    small = tmp_path / "disk"
    small.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", small], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk to fill up: mount says {done.stderr.strip()!r}; it takes root")
    try:
        worker, job, fine = work(), ask(WHOLE), ask()
        with monkeypatch.context() as patch:
            patch.setattr("tempfile.tempdir", str(small))
            assert worker.run_next()
        job = jobs.get(engine, job.id)
        assert job.status == "failed" and job.error and "GB free on the disk" in job.error["found"]
        assert list(small.iterdir()) == []
        (small / "ballast").write_bytes(bytes(shutil.disk_usage(small).free))
        with monkeypatch.context() as patch:
            patch.setattr("tempfile.tempdir", str(small))
            assert worker.run_next()
        assert jobs.get(engine, fine.id).lost == 1  # no room for a folder: the next worker may have some
        until(worker.run_next)
        assert jobs.get(engine, fine.id).status == "successful"
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)


def test_a_store_that_does_not_write_is_tried_again(
    engine: Engine, store: Store, work: Callable, ask: Callable, tmp_path: Path
):
    worker, job = work(), ask()
    (tmp_path / "file").touch()
    worker.store = replace(store, results=str(tmp_path / "file" / "results"))  # below a file no folder can be
    assert worker.run_next()
    now = jobs.get(engine, job.id)
    assert (now.status, now.lost) == ("accepted", 1)
    worker.store = store
    until(worker.run_next)
    assert jobs.get(engine, job.id).status == "successful"


def test_a_job_that_is_given_back_does_not_count(engine: Engine, work: Callable, ask: Callable, ready: Watched):
    worker, job = work(), ask()

    def leave() -> None:
        worker.bell.stopping = worker.bell.hurry = True
        worker.leash.kill()

    ready.when["mapping"] = leave
    assert worker.run_next()
    now = jobs.get(engine, job.id)
    assert (now.status, now.lost) == ("accepted", 0)
    with pytest.raises(StoreError):
        worker.results.entry(now, "map.tif")


# --- the processes ---------------------------------------------------------------------------------------------------


def test_the_supervising_process_imports_no_science():
    code = "import sys, serving.worker.worker, serving.worker.wake, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"numba", "xgboost", "lightgbm", "catboost", "mlflow", "rasterio", "pandas", "xarray", "sklearn"}
    assert not heavy & set(json.loads(done.stdout))


def test_a_runner_ends_with_its_worker(model: Model):
    "Even one that is killed, and has no time to say goodbye."
    code = """if True:
        import sys, time
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
        until(lambda: not Path(f"/proc/{pid}").exists(), 5)
