"The whole service on SQLite, as processes: API, worker, and the side that answers at once."

import contextlib
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asked
import jwt
import service
from loopback import answer, free_ports
from service import Project
from sqlalchemy import Engine
from supervised import GUARD

from serving.jobs import database, users
from serving.jobs.jobs import Job
from serving.jobs.users import User

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "api": ("-m", "serving.api"),
    "answers": ("-m", "serving.worker.answers"),
    "worker": ("-m", "geocrop.cli", "worker"),
}
READY = {"api": "/healthz", "answers": "/v2/health/ready"}  # asked of the API, which asks the other
PATIENCE_S = 180.0  # a machine that compiles everything anew takes a quarter of it


@dataclass
class Stack:
    "Processes of a service, each of which can be taken away and brought back."

    url: str
    engine: Engine
    project: Project
    people: dict[str, User] = field(default_factory=dict)
    finished: Job | None = None  # A job of ada's, with the map of the pipeline
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, part: str) -> None:
        "Bring a part; wait for one that is to answer."
        folder, environment = self.project.folder, os.environ | self.project.environment | {"PYTHONPATH": str(ROOT)}
        with (folder / f"{part}.log").open("ab") as log:
            self._running[part] = subprocess.Popen(
                [*GUARD, str(os.getpid()), sys.executable, *COMMANDS[part]],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        if part in READY:
            self.answers(READY[part])

    def stop(self, part: str) -> None:
        "Take a part away at once, as a power cut would. What a worker started ends with it."
        process = self._running.pop(part, None)
        if process:
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def held(self, part: str) -> Iterator[None]:
        "A part does nothing, for a while. A worker must have no job in hand."
        process = self._running[part]
        process.send_signal(signal.SIGSTOP)
        while not self._writable():  # stopped in the middle of a transaction, it would hold up everybody
            process.send_signal(signal.SIGCONT)
            time.sleep(0.05)
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def _writable(self) -> bool:
        "Whether SQLite's one writer's place is free, or soon will be."
        with contextlib.closing(
            sqlite3.connect(str(self.engine.url.database), timeout=2, isolation_level=None)
        ) as asking:
            try:
                asking.execute("BEGIN IMMEDIATE")
                asking.execute("ROLLBACK")
            except sqlite3.OperationalError:
                return False
            return True

    def answers(self, path: str) -> None:
        "Wait until an address answers."
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer(self.url + path).close()
                return
            except OSError as error:
                if time.monotonic() > end:
                    error.add_note((self.project.folder / "api.log").read_text()[-3000:])
                    raise
                time.sleep(0.05)

    def expired(self, name: str) -> str:
        "A token of a user that was good until an hour ago."
        now = int(time.time())
        claims = {"sub": name, "aud": "geocrop", "iat": now - 7200, "exp": now - 3600}
        return jwt.encode(claims, self.project.environment["GEOCROP_API_SECRET"], "HS256")


@contextlib.contextmanager
def stack(
    folder: Path,
    shelf: Path,  # With models and baselines, see service.stock
    passwords: dict[str, str],  # Of ada, an administrator, and of recruiters
) -> Iterator[Stack]:
    "A service that answers, with a job of ada's that is done; its processes end with the `with`."
    here, there = free_ports(2)
    url = f"sqlite:///{folder / 'service.db'}"
    engine = database.connect(url)
    database.upgrade(engine)
    made = service.project(
        folder, url, shelf, API_PORT=str(here), API_ANSWERS=f"http://127.0.0.1:{there}",
        API_SECRET=secrets.token_hex(32), CATALOGUE_HREF=str(ROOT / "data/season/catalog.json"),
        JOBS_HEARTBEAT_S="1", JOBS_LEASE_S="10", JOBS_RECONCILE_S="1",
    )  # fmt: skip
    running = Stack(f"http://127.0.0.1:{here}", engine, made)
    for name, password in passwords.items():
        running.people[name] = users.add(engine, name, password, "admin" if name == "ada" else "recruiter")
    running.finished = service.finish(made, engine, asked.job(engine, running.people["ada"]))
    try:
        for part in COMMANDS:
            running.start(part)
        yield running
    finally:
        for part in COMMANDS:
            running.stop(part)
        engine.dispose()
