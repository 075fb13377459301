"The whole service as it runs in earnest: the processes of its API and of its workers, and clients that ask it."

import contextlib
import os
import secrets
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine
from supervised import Program

from geocrop.store import bucket
from serving.jobs import database, jobs, users
from serving.jobs.jobs import Job
from serving.jobs.results import Results

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
PASSWORD = "correct horse"  # of everybody
BACKLOG = 2048  # connections that wait while no process takes them
SETTLED_S = 0.7  # after which a job that still runs will go on doing so: its runner had not yet told the result
QUICK = {"lease_s": 6, "heartbeat_s": 0.5, "reconcile_s": 0.5}  # for tests, in which workers are lost on purpose


@dataclass(frozen=True)
class Place:
    "Where a service keeps things: what settings.ini says, by section and key."

    folder: Path  # For logs, and for what is made on the way
    settings: Mapping[str, Mapping[str, Any]]
    more: Mapping[str, str] = field(default_factory=dict)  # of the environment, for example keys of S3

    def environment(self) -> dict[str, str]:
        "Of a process that shall find it all."
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GEOCROP_", "AWS_"))}
        told = {f"GEOCROP_{s}_{k}".upper(): str(v) for s, keys in self.settings.items() for k, v in keys.items()}
        return kept | told | dict(self.more) | {"GEOCROP_HOME": str(ROOT), "XDG_CACHE_HOME": str(self.folder / "cache")}

    def but(self, section: str, **keys: Any) -> "Place":
        "The same with some settings changed."
        changed = {**self.settings, section: {**self.settings.get(section, {}), **keys}}
        return replace(self, settings=changed)


class Deployed:
    "A service that runs; `with deployed(place)` starts it."

    def __init__(self, place: Place, listener: socket.socket, stack: contextlib.ExitStack, before: Sequence[str]):
        self.place, self.listener, self._stack, self._before = place, listener, stack, before
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.engine: Engine = database.connect(place.settings["database"]["url"])
        self.workers: list[Program] = []
        self.api: Program
        self.answers: Program
        self.scratch = place.folder / "scratch"  # Temporary folder of its workers
        self.scratch.mkdir(exist_ok=True)

    def start_api(self) -> Program:
        "A process of the API on the socket that we hold; it may be the second one."
        command = [*self._before, PYTHON, "-m", "serving.api", "--fd", str(self.listener.fileno())]
        log = self.place.folder / "api.log"
        self.api = Program(command, self.place.environment(), log, fds=[self.listener.fileno()])
        return self._stack.enter_context(self.api)

    def start_answers(self) -> Program:
        "The side that answers quotes, where the API looks for it."
        command = [PYTHON, "-m", "serving.worker.answers"]
        self.answers = Program(command, self.place.environment(), self.place.folder / "answers.log")
        return self._stack.enter_context(self.answers)

    def start_worker(self) -> Program:
        "One more worker."
        log = self.place.folder / f"worker-{len(self.workers)}.log"
        env = self.place.environment() | {"TMPDIR": str(self.scratch)}
        worker = Program([PYTHON, "-m", "geocrop.cli", "worker"], env, log)
        self.workers.append(worker)
        return self._stack.enter_context(worker)

    def newcomer(self, role: str) -> "Client":
        "A new user of a role, who has signed in."
        name = f"{role}-{uuid.uuid4().hex[:8]}"
        users.add(self.engine, name, PASSWORD, role)
        client = Client(self.url)
        self._stack.callback(client.close)
        client.sign_in(name, PASSWORD)
        return client

    def results(self) -> Results:
        "Its results, past the API."
        with environment(self.place.more):
            return Results(bucket(self.place.settings["store"]["results"]))

    def row(self, id: str) -> Job:
        "A job, past the API."
        return jobs.get(self.engine, id)

    def holder(self, job: Job) -> Program:
        "The worker that has a job."
        return next(worker for worker in self.workers if f"-{worker.pid}-" in (job.lease_owner or ""))

    def caught(self, client: "Client", aoi: Sequence[float]) -> "Caught":
        "A job in whose midst its runner has been stopped: it stays there until somebody does something about it."
        for _ in range(20):
            id = client.submit(aoi).json()["jobID"]
            job = until(lambda id=id: (now := self.row(id)).lease_owner and now, 60, "nobody takes the job", 0.002)
            worker = self.holder(job)
            [runner] = worker.children()
            os.kill(runner, signal.SIGSTOP)
            end = time.monotonic() + SETTLED_S
            while (now := self.row(id).status) == "running" and time.monotonic() < end:
                time.sleep(0.05)
            if now == "running":
                return Caught(id, worker, runner)
            os.kill(runner, signal.SIGCONT)  # it was done already
        raise AssertionError("jobs are over before they can be caught")

    def logs(self) -> str:
        "The last that its processes said, for a test that fails."
        return "\n".join(f"--- {p.name}\n{p.read_text()[-3000:]}" for p in sorted(self.place.folder.glob("*.log")))


@dataclass(frozen=True)
class Caught:
    "A job that is held in its midst."

    id: str
    worker: Program
    runner: int  # Its process id; it is stopped

    def send(self, *numbers: signal.Signals) -> None:
        "Signals for the runner."
        for number in numbers:
            os.kill(self.runner, number)


@contextlib.contextmanager
def deployed(
    place: Place,
    workers: int = 1,
    before: Sequence[str] = (),  # What the API's command begins with
) -> Iterator[Deployed]:
    "A service that answers; its workers may still be warming up. Nothing outlives the `with`."
    place.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=BACKLOG))
        service = Deployed(place, listener, stack, before)
        stack.callback(service.engine.dispose)
        try:
            service.start_api()
            for _ in range(workers):
                service.start_worker()
            asking = httpx.Client(base_url=service.url, trust_env=False, timeout=5)
            until(lambda: _alive(asking), 120, "the API does not answer")
            yield service
        except BaseException as error:
            error.add_note(service.logs())
            raise


@contextlib.contextmanager
def environment(more: Mapping[str, str]) -> Iterator[None]:
    "Of this process, for a while."
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _alive(asking: httpx.Client) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return asking.get("/healthz").status_code == 200
    return False


def secret() -> str:
    "A key of tokens."
    return secrets.token_hex(32)


def until(
    true: Callable[[], Any],
    patience_s: float,
    otherwise: str,  # What is said where it does not come true
    every_s: float = 0.05,
) -> Any:  # What it gave at last
    "Wait for something to come true."
    end = time.monotonic() + patience_s
    while not (found := true()):
        if time.monotonic() > end:
            raise AssertionError(f"{otherwise} ({patience_s:g} s)")
        time.sleep(every_s)
    return found


class Client:
    "A user with a token. Threads may share one."

    def __init__(self, url: str):
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=60, limits=limits)

    def close(self) -> None:
        self.http.close()

    def sign_in(self, name: str, password: str) -> None:
        answer = self.http.post("/auth/token", data={"username": name, "password": password})
        answer.raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def submit(
        self,
        aoi: Sequence[float] | Mapping[str, Any],
        key: str | None = None,
        year: int = 2022,
    ) -> httpx.Response:
        "Ask for a map, once."
        headers = {"Idempotency-Key": key} if key else {}
        body = {"inputs": {"aoi": aoi, "year": year}}
        return self.http.post("/processes/crop-map/execution", json=body, headers=headers)

    def insist(
        self,
        ask: Callable[[], httpx.Response],
        patience_s: float = 120,
    ) -> httpx.Response:
        "Ask again where the connection broke or the service says that it cannot now, as a good client does."
        end = time.monotonic() + patience_s
        while True:
            try:
                answer = ask()
                if answer.status_code != 503 or time.monotonic() > end:
                    return answer
            except httpx.TransportError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def job(self, id: str) -> dict[str, Any]:
        "Its status."
        answer = self.insist(lambda: self.http.get(f"/jobs/{id}"))
        answer.raise_for_status()
        return answer.json()

    def ended(self, id: str, patience_s: float = 120) -> dict[str, Any]:
        "Its status, once it has come to its end."
        final = ("successful", "failed", "dismissed")
        asked: list[dict[str, Any]] = []

        def over() -> bool:
            asked[:] = [self.job(id)]
            return asked[0]["status"] in final

        until(over, patience_s, f"job {id} does not end")
        return asked[0]

    def map_of(self, id: str) -> tuple[bytes, str]:
        "The map of a job that succeeded, and the checksum that the API states for it."
        page = self.insist(lambda: self.http.get(f"/jobs/{id}/results")).json()
        answer = self.insist(lambda: self.http.get(page["map"]["href"]))
        answer.raise_for_status()
        return answer.content, answer.headers["ETag"].strip('"')
