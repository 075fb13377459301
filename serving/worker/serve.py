"""The whole service on one machine, in one command: nothing to install, nothing to configure.

It prepares what is not there (store, model, database, an administrator), starts a process for each part, starts again
what dies, and takes all of them down with it. The processes are those of the grown-up service, one for one.
"""

import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from geocrop import settings
from geocrop.bundle import PAGE
from geocrop.schema import SettingsError, StoreError
from geocrop.store import bucket, sha256
from serving.jobs import database, models, users
from serving.jobs.models import Model

from . import process, release
from .bell import Bell

log = logging.getLogger(__name__)
SIMULATED = "geocrop-season"  # id of the embedded catalogue
ADMIN = "admin"
EVERYWHERE = ("0.0.0.0", "")  # all addresses of the machine; told from others here  # noqa: S104  # nosec B104
REFUSED = 2  # status of a process that was asked something impossible
BACK_OFF_S = (1.0, 30.0)  # before a process that died is started again: at first, at most
STEADY_S = 60.0  # one that lived so long has been well
LOOK_S = 0.5  # between two looks at the processes
PATIENCE_S = 60.0  # for the first answer
GOODBYE_S = 40.0  # for processes without a job to end


# --- preparing -------------------------------------------------------------------------------------------------------


def check(folder: Path) -> None:
    "SettingsError, StoreError where there is nothing to serve."
    store, catalogue = settings.settings("store", folder), settings.settings("catalogue", folder).href
    if not (store.models and store.results):
        raise SettingsError(
            "settings.ini [store]", found="no models or no results", expected="a folder or s3://bucket for each",
            remedy="Say where the service keeps what it makes.",
        )  # fmt: skip
    if "://" not in catalogue and not Path(catalogue).is_file():
        raise StoreError(
            f"Catalogue {catalogue}", found="no such file", expected="a season of imagery", remedy="Run: make repro"
        )


def champion(folder: Path) -> Model:
    """The model that new jobs are made with: that of the store, or results/model of the project where it is newer, that
    is, has passed the gate and has never been in the store. StoreError where there is none at all.
    """
    where, name = settings.settings("store", folder).models, settings.params("base", folder).name
    store, own = bucket(where, make=True), folder / "results" / "model"
    try:
        now = models.champion(store, name)
    except StoreError:
        if not (own / PAGE).is_file():
            raise StoreError(
                f"Model {name}", found=f"none in {where}, none in {own}", expected="a fitted model",
                remedy="Run: make repro",
            ) from None  # fmt: skip
        return release.release(where, own, name)
    gate = folder / "reports" / "gate.json"
    if (own / PAGE).is_file() and gate.is_file() and (identity := sha256(own / PAGE)) in gate.read_text():
        return now if release.known(where, name, identity) else release.release(where, own, name)
    return now


def administrator(folder: Path) -> str | None:  # The password; None: there are users already
    "Make a first user, who may do everything."
    engine = database.connect(settings.settings("database", folder).url)
    database.upgrade(engine)
    password = None
    if not users.listed(engine):
        password = secrets.token_urlsafe(12)
        users.add(engine, ADMIN, password, "admin")
    engine.dispose()
    return password


def simulated(folder: Path) -> bool:
    "Whether the season is the embedded one, of a land that can be asked about other years."
    catalogue = settings.settings("catalogue", folder).href
    return "://" not in catalogue and json.loads(Path(catalogue).read_text()).get("id") == SIMULATED


def listening(host: str, port: int) -> socket.socket:
    "A socket that processes may inherit, one after the other. SettingsError where the port is taken."
    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise SettingsError(
            f"Address {host}:{port}", found=str(error), expected="an address that is free",
            remedy="Choose another with --port.",
        ) from None  # fmt: skip


# --- running ---------------------------------------------------------------------------------------------------------


@dataclass
class Part:
    "A process of the service, and what is known of its life."

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    inherits: Sequence[socket.socket] = ()
    patient: bool = False  # It is waited for at the end: it may have a job in hand
    once: bool = False  # It has something to do, and ends
    running: subprocess.Popen[bytes] | None = None
    status: int | None = None  # With which it ended last
    told: bool = False  # Whether it has been asked to end
    born: float = 0.0
    next_birth: float = 0.0
    back_off_s: float = BACK_OFF_S[0]

    def start(self) -> None:
        "In a session of its own: a Ctrl-C at the terminal is ours alone, and passed on in order."
        guard = [sys.executable, "-ES", str(Path(process.__file__)), str(os.getpid())]
        self.running = subprocess.Popen(
            [*guard, *self.command],
            env=dict(self.environment),
            pass_fds=[one.fileno() for one in self.inherits],
            start_new_session=True,
        )
        self.born, self.told = time.monotonic(), False

    def look(self, now: float) -> None:
        "Start it again some time after it has ended."
        if self.running is not None and (status := self.running.poll()) is not None:
            self.running, self.status = None, status
            if self.once and status == 0:
                self.next_birth = float("inf")
                return
            self.back_off_s = BACK_OFF_S[0] if now - self.born > STEADY_S else min(2 * self.back_off_s, BACK_OFF_S[1])
            self.next_birth = now + self.back_off_s
            log.warning("%s ended with status %d; again in %.0f s", self.name, status, self.back_off_s)
        elif self.running is None and now >= self.next_birth:
            self.start()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        "Ask it to end: a second time, if it was asked before."
        if self.running is not None:
            self.told = True
            self.running.send_signal(number)


def parts(folder: Path, api: socket.socket, answers: socket.socket, workers: int) -> list[Part]:
    "All processes of the service."
    host, port = answers.getsockname()[:2]
    env = os.environ | {"GEOCROP_HOME": str(folder), "GEOCROP_API_ANSWERS": f"http://{host}:{port}"}
    python = (sys.executable, "-m")
    found = [
        Part("api", (*python, "serving.api", "--fd", str(api.fileno())), env, [api]),
        *(Part(f"worker {n + 1}", (*python, "geocrop.cli", "worker"), env, patient=True) for n in range(workers)),
        Part("answers", (*python, "serving.worker.answers", "--fd", str(answers.fileno())), env, [answers]),
    ]
    shelf = settings.settings("store", folder).baselines
    if shelf and "://" not in shelf and simulated(folder):
        found.append(Part("baselines", (*python, "serving.worker.baselines"), env, once=True))
    return found


def serve(
    folder: Path,  # Project folder
    *,
    host: str,
    port: int,  # 0: one that is free
    workers: int,  # Processes that make maps
    tell: Callable[[dict[str, Any]], None],  # Called with what is worth knowing: a password that was made; the address
) -> None:
    "Run the service until it is told to stop. SettingsError, StoreError where it cannot be started."
    check(folder)
    bell = Bell()
    with listening(host, port) as api, listening("127.0.0.1", 0) as answers:
        model = champion(folder)
        if password := administrator(folder):
            tell({"user": ADMIN, "password": password, "keep it": "it is shown this once"})
        every = parts(folder, api, answers, workers)
        bell.stop_on_signals(lambda: _stop(every))
        try:
            for part in every:
                part.start()
            url = f"http://{'127.0.0.1' if host in EVERYWHERE else host}:{api.getsockname()[1]}"
            if _answers(url, bell, every):
                tell({"url": url, "model": f"{model.name} {model.version}"})
            while not bell.stopping:
                _look(every)
                bell.wait(LOOK_S)
        finally:
            _farewell(every, bell)


def _stop(every: Sequence[Part]) -> None:
    for part in every:
        part.stop()


def _look(every: Sequence[Part]) -> None:
    for part in every:
        part.look(time.monotonic())


def _answers(url: str, bell: Bell, every: Sequence[Part]) -> bool:
    "Wait for the first answer; whether it came."
    end = time.monotonic() + PATIENCE_S
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        while not bell.stopping and time.monotonic() < end:
            _look(every)
            if refused := [part.name for part in every if part.status == REFUSED]:
                raise SettingsError(
                    f"Service, {refused[0]}",
                    found="an end at once",
                    expected="a start",
                    remedy="What it said is above.",
                )
            try:
                if client.get(f"{url}/healthz").is_success:
                    return True
            except httpx.HTTPError:
                pass
            bell.wait(0.1)
    if not bell.stopping:
        log.warning("no answer from %s within %.0f s", url, PATIENCE_S)
    return False


def _farewell(every: Sequence[Part], bell: Bell) -> None:
    "Until the last process has ended: a worker may finish its job, unless it is told to hurry; then none may linger."
    for part in every:
        if not part.told:
            part.stop()
    end = time.monotonic() + GOODBYE_S
    while left := [part for part in every if part.running and part.running.poll() is None]:
        if not bell.hurry and any(part.patient for part in left):
            end = time.monotonic() + GOODBYE_S
        if time.monotonic() > end:
            for part in left:
                part.stop(signal.SIGKILL)
        bell.wait(0.1)
