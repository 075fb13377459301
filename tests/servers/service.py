"A service without its servers: a project folder, its stores, and jobs that have been done without the work."

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import rasterio
from pipeline import made
from sqlalchemy import Engine

from geocrop.schema import StoreError
from geocrop.store import bucket
from serving.jobs import jobs, models
from serving.jobs.jobs import Job
from serving.jobs.results import Results

ROOT = Path(__file__).parents[2]
MADE = (
    "map.tif",
    "map.tif.aux.xml",
    "map.json",
    "map.stats.json",
    "map.qml",
)  # by the pipeline, of the embedded season
LEGEND = [
    {"id": id, "name": name, "colour": colour}
    for id, (name, colour) in enumerate([("water", "#419bdf"), ("trees", "#397d49"), ("grass", "#88b053")])
]


@dataclass(frozen=True)
class Project:
    "A project folder, and what names its places in the environment."

    folder: Path
    environment: dict[str, str]

    @property
    def results(self) -> Results:
        "Its results."
        return Results(bucket(self.environment["GEOCROP_STORE_RESULTS"], make=True))


def project(
    folder: Path,
    database_url: str,
    shelf: Path,  # With models and baselines, see `stock`
    **more: str,  # Further settings, like API_ANSWERS
) -> Project:
    "A project folder like ours, with a database and stores of its own."
    folder.mkdir(exist_ok=True)
    for name in ("params.yaml", "settings.ini"):
        shutil.copy(ROOT / name, folder)
    places = {
        "DATABASE_URL": database_url, "STORE_RESULTS": str(folder / "results"), "STORE_MODELS": str(shelf / "models"),
        "STORE_BASELINES": str(shelf / "baselines"), "API_ANSWERS": "http://127.0.0.1:9", **more,
    }  # fmt: skip
    environment = {f"GEOCROP_{name}": value for name, value in places.items()} | {"GEOCROP_HOME": str(folder)}
    return Project(folder, environment)


def stock(folder: Path) -> Path:
    "A champion, and a baseline with the tags of geocrop.baselines; the folder."
    store = bucket(folder / "models", make=True)
    models.point(store, models.put(store, made("model"), "zimbabwe_embedded", "1"))
    baseline = folder / "baselines/dw/zim/summer/2022.tif"
    baseline.parent.mkdir(parents=True)
    shutil.copy(ROOT / "data/season/baselines/dw_2022.tif", baseline)
    with rasterio.open(baseline, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
        raster.update_tags(TITLE="Season 2022", SOURCE="simulated", GEOCROP_LEGEND=json.dumps(LEGEND))
    return folder


def finish(
    project: Project,
    engine: Engine,
    job: Job,  # As it was submitted, the only one that waits
) -> Job:
    "A job whose map is that of the pipeline."
    claimed = jobs.claim(engine, "worker", 60)
    assert claimed and claimed.id == job.id
    folder = project.folder / "made"
    if not folder.is_dir():
        folder.mkdir()
        for name in MADE:
            shutil.copy(made(name), folder)
    measured = {"seconds": 6.0, "pixels": 512 * 512, "scenes": 97}
    result = {"files": project.results.put(claimed, folder), "measured": measured}
    assert jobs.publish(engine, claimed, "worker", result)
    return jobs.get(engine, job.id)


@dataclass(frozen=True)
class Live:
    "A process of the API."

    url: str
    process: subprocess.Popen[bytes]
    log: Path


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    "A socket for processes to take connections from."
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        sock.set_inheritable(True)
        yield sock


@contextlib.contextmanager
def api(
    project: Project,
    sock: socket.socket,
    environment: Mapping[str, str] | None = None,
    patience_s: float = 120,
) -> Iterator[Live]:  # A process that answers; it ends with the `with`
    "The API as `geocrop serve` starts it: on a socket that somebody else holds."
    log = project.folder / f"api-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "serving.api", "--fd", str(sock.fileno())]
    env = {**os.environ, **project.environment, **(environment or {}), "PYTHONPATH": str(ROOT)}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=env, cwd=project.folder, stdout=out, stderr=out, pass_fds=[sock.fileno()]
        )
    live = Live(f"http://127.0.0.1:{sock.getsockname()[1]}", process, log)
    try:
        _started(live, patience_s)
        yield live
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(60)


def _started(live: Live, patience_s: float) -> None:
    "Wait until this very process listens, others may share its socket: its log says so."
    end = time.monotonic() + patience_s
    while "listening on" not in live.log.read_text():
        if live.process.poll() is not None or time.monotonic() > end:
            raise StoreError("API", found=live.log.read_text()[-3000:], expected="a process", remedy="See its log.")
        time.sleep(0.02)


def signed_in(
    client: httpx.Client,
    name: str,
    password: str,
) -> dict[str, str]:
    "The header that a user sends."
    answer = client.post("/auth/token", data={"username": name, "password": password})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def streamed(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    "Data of the events of a stream."
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))
