"Runners for tests of the worker: real ones, warm, watched, and replaced when a test has killed one."

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asked
import pytest
from bundles import guessing
from sqlalchemy import Engine

from geocrop.settings import Jobs, Store
from geocrop.store import bucket
from serving.jobs import models
from serving.jobs.jobs import Job
from serving.jobs.models import Model
from serving.jobs.users import User
from serving.worker.bell import Bell
from serving.worker.leash import Leash
from serving.worker.worker import Worker

ROOT = Path(__file__).parents[2]

LIMITS = Jobs(lease_s=20, heartbeat_s=0.2, reconcile_s=1, deadline_s=60, attempts=3)
SMALL = (31.05, -17.83, 300.0)  # lon, lat, radius_m
WHOLE = (31.05, -17.83, 2000.0)
SLACK_S = 10.0  # of a machine that others use as well, where something is to be done within a time
FILES = {"map.tif", "map.tif.aux.xml", "map.qml", "map.json", "map.stats.json"}


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

    @property
    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None


class Stable:
    "A runner for the next test, and another that gets warm meanwhile."

    def __init__(self) -> None:
        self.leashes = [Watched(), Watched()]

    def ready(self) -> Watched:
        if not self.leashes[0].lives:
            self.leashes.reverse()
        for leash in self.leashes:
            leash.start()
        self.leashes[0].ready()
        self.leashes[0].when.clear()
        return self.leashes[0]

    def close(self) -> None:
        for leash in self.leashes:
            leash.kill()
            leash.close()


def until(is_so: Callable[[], object], patience_s: float = 60) -> None:
    "Wait for something that will be so."
    end = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


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


def left(store: Store, job: Job) -> set[str]:
    "Names of the files of a job in the store, as attempt/name."
    folder = Path(store.results, "results", job.id)
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# --- fixtures, known to the tests of the service by their conftest.py ------------------------------------------------


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    "Where models and results lie, and an environment in which other processes of the service find them."
    folder = tmp_path_factory.mktemp("store")
    found = Store(models=str(folder / "models"), results=str(folder / "results"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOCROP_HOME", str(ROOT))
        patch.setenv("GEOCROP_STORE_MODELS", found.models)
        patch.setenv("GEOCROP_STORE_RESULTS", found.results)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield found


@pytest.fixture(scope="module")
def model(places: Store, tmp_path_factory: pytest.TempPathFactory, season: Path) -> Model:
    "The champion there."
    where, folder = bucket(places.models, make=True), tmp_path_factory.mktemp("bundle")
    made = models.put(where, guessing(folder / "model"), "zimbabwe_embedded", "1")
    models.point(where, made)
    return made


@pytest.fixture(scope="module")
def stable(model: Model) -> Iterator[Stable]:
    "Runners that the tests of a file share; some kill theirs."
    found = Stable()
    yield found
    found.close()


@pytest.fixture
def ready(stable: Stable) -> Watched:
    "A runner that waits for a job."
    return stable.ready()


@pytest.fixture
def work(engine: Engine, places: Store, ready: Watched) -> Iterator[Callable[..., Worker]]:
    "Makes a worker with that runner, or with another."
    made: list[Worker] = []

    def start(limits: Jobs = LIMITS, leash: Leash = ready) -> Worker:
        made.append(Worker(engine, places, limits, bell=Bell(), leash=leash))
        made[-1].heart.start()
        return made[-1]

    yield start
    for worker in made:
        worker.heart.stop()


@pytest.fixture
def ask(engine: Engine, admin: User, model: Model) -> Callable[..., Job]:
    "Submits a job."
    return lambda aoi=SMALL, **how: asked.job(engine, admin, aoi, **{"model": model, **how})
