"""The service: how soon it starts and shows land cover; under load beside bare servers; with 200 pollers for minutes.

.venv/bin/python bench/serving.py [--part start page status submit tile infer soak] [--rounds 5] [--seconds 5]
                                  [--minutes 5] [--json out.json]

One process of the API on one core; the load, the database, Redis and the worker on another.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import morecantile
import numpy as np
import psutil
from redis import Redis
from rounds import Bar, Contender, Times, digits, finish, interleave, machine, ratio, table, table_of_times, tell

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "servers")]  # the package `serving` comes before this file

from deployed import BACKLOG, Client, Deployed, deployed, until  # noqa: E402
from ground import servers  # noqa: E402
from landcover import CHROMIUM, DESKTOP, land_cover_ms, launch  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from supervised import Program  # noqa: E402

from geocrop import baselines, settings  # noqa: E402
from serving.jobs import jobs, tables  # noqa: E402

BARE, WRK = ROOT / "bench" / "bare", ROOT / "bench" / "wrk"
PARTS = ("start", "page", "status", "submit", "tile", "infer", "soak")
CONNECTIONS = 16  # each asks again as soon as it is answered
START_S, PAGE_S = 3, 1
STATUS, SUBMIT, TILE = 0.5, 0.8, 0.8  # of the requests per second of the bare server
EXECUTION = "/processes/crop-map/execution"
SMALL = {"inputs": {"aoi": [31.06, -17.84, 100.0], "year": 2022}}
MANY = 1_000_000  # jobs that may wait, and that a recruiter may have: nobody shall be refused
WAITING = 100  # jobs whose status is asked for in turns
ZOOMS = range(12, 16)
ROWS = 1  # of features in a request
QUEUED, POLLERS, EVERY_MS = 1000, 200, 1000  # of the soak; each poller asks once in so long, on average
SAMPLE_S, SETTLED, GROWTH = 1.0, 0.2, 1.05  # memory: how often; after which share of the time; how much more at the end


def cores() -> tuple[int, int]:
    "One for the API, one for all else."
    here = sorted(os.sched_getaffinity(0))
    return here[0], here[-1]


API_CORE, OTHER_CORE = cores()
PINNED = ("taskset", "-c", str(API_CORE))


# --- load ------------------------------------------------------------------------------------------------------------


def wrk(
    url: str,
    script: str,
    *words: str,  # Of the script
    seconds: float,
    token: str = "",
    connections: int = CONNECTIONS,
) -> dict[str, float]:  # What told.lua prints
    "Put a server under load. RuntimeError where a request failed."
    command = ["wrk", "-t", "1", "-c", f"{connections}", "-d", f"{max(1, round(seconds))}s", "--timeout", "20s"]
    command += ["-H", f"Authorization: {token}"] if token else []
    command += ["-s", str(WRK / script), url, "--", *words]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    if found["refused"] or found["broken"] or not found["requests"]:
        raise RuntimeError(f"{url} {script}: requests failed: {found}")
    return found


@dataclass
class Bench:
    "A service, somebody who may ask it anything, and how long it is asked."

    service: Deployed
    client: Client
    rounds: int
    seconds: float
    found: dict[str, list[dict[str, float]]] = field(default_factory=dict)  # name -> what wrk found in each round

    @property
    def token(self) -> str:
        "For the header of a request."
        return self.client.http.headers["Authorization"]

    def contender(
        self,
        name: str,
        does: str,
        url: str,
        script: str,
        words: Callable[[], Sequence[str]],  # Called before each run
    ) -> Contender:
        "Somebody under load; the time of a run is that of a request."

        def run() -> float:
            token = self.token if script == "get.lua" else ""
            found = wrk(url, script, *words(), seconds=self.seconds, token=token)
            self.found.setdefault(name, []).append(found)
            return found["seconds"] / found["requests"]

        return Contender(name, run, does=does)

    @contextlib.contextmanager
    def bare(self, app: str) -> Iterator[str]:
        "A server of bench/bare in a process like that of the API; its address."
        with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
            fd, place = listener.fileno(), self.service.place
            command = [*PINNED, sys.executable, str(BARE / "serve.py"), app, str(fd)]
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with Program(command, place.environment(), place.folder / f"bare-{app}.log", fds=[fd]):
                until(lambda: _answers(url), 60, f"bench/bare/{app}.py does not answer")
                yield url

    def told(self, everyone: Sequence[Contender], times: Times) -> None:
        "The table of a part."
        rows = []
        for one in everyone:
            rate = [1 / seconds for seconds in times[one.name]]
            asked = self.found[one.name][-len(rate) :]  # without the warm-up
            p50, p99 = (statistics.median(found[key] for found in asked) for key in ("p50_ms", "p99_ms"))
            spread = f"{digits(min(rate))} - {digits(max(rate))}"
            rows.append([one.name, digits(statistics.median(rate)), spread, digits(p50), digits(p99), one.does])
        print(table(["server", "requests/s", "min - max", "p50 ms", "p99 ms", "what it does"], rows))

    def against(self, ours: Contender, theirs: Contender, limit: float) -> tuple[Times, list[Bar]]:
        "Both in turns."
        times = interleave([ours, theirs], self.rounds)
        self.told([ours, theirs], times)
        return times, [ratio(f"{ours.name} vs {theirs.name}", theirs.name, ours.name, times, limit, at_least=True)]


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/openapi.json", trust_env=False).status_code == 200
    return False


# --- how soon --------------------------------------------------------------------------------------------------------


def start(bench: Bench) -> tuple[Times, list[Bar]]:
    "A process of the API, from its command to its first answer."
    print("\n## Start\n")
    service, place = bench.service, bench.service.place

    def starting(program: Sequence[str], path: str) -> Callable[[], float]:
        "Starts a program on a socket whose number is its last word; seconds until it has answered."

        def run() -> float:
            with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
                url, fd = f"http://127.0.0.1:{listener.getsockname()[1]}/{path}", listener.fileno()
                command = [*PINNED, sys.executable, *program, str(fd)]
                began = time.perf_counter()
                with Program(command, place.environment(), place.folder / "start.log", fds=[fd]):
                    if httpx.get(url, trust_env=False, timeout=60).status_code != 200:  # it waits in the socket's queue
                        raise RuntimeError(f"{url}: no answer\n{service.logs()}")
                    return time.perf_counter() - began

        return run

    ours, bare = (
        starting(["-m", "serving.api", "--fd"], "healthz"),
        starting([str(BARE / "serve.py"), "status"], "openapi.json"),
    )
    both = [Contender("start", ours, does="python -m serving.api: /healthz")]
    both += [Contender("start, bare", bare, does="FastAPI and a constant: /openapi.json")]
    times = interleave(both, bench.rounds)
    print(table_of_times(both, times, "start"))
    return times, [_seconds("start: seconds to the first answer", times["start"], START_S)]


def page(bench: Bench) -> tuple[Times, list[Bar]]:
    "The map opened by somebody who was never there."
    print("\n## Land cover on the screen\n")
    baselines.write(Path(bench.service.place.settings["store"]["baselines"]), range(2015, 2026))
    os.sched_setaffinity(0, {API_CORE, OTHER_CORE})  # a visitor has a machine of their own
    with sync_playwright() as playwright, contextlib.closing(launch(playwright)) as browser:

        def run() -> float:
            with browser.new_context(viewport=DESKTOP, base_url=bench.service.url) as context:
                return land_cover_ms(context.new_page()) / 1000

        ours = [Contender("page", run, does="from the navigation to pixels of land cover, empty cache")]
        times = interleave(ours, bench.rounds)
    os.sched_setaffinity(0, {OTHER_CORE})
    print(table_of_times(ours, times, "page"))
    return times, [_seconds("page: seconds until land cover is seen", times["page"], PAGE_S)]


def _seconds(claim: str, taken: list[float], limit: float) -> Bar:
    return Bar(claim, statistics.median(taken), limit, low=min(taken), high=max(taken), unit=" s")


# --- beside bare servers ---------------------------------------------------------------------------------------------


def status(bench: Bench) -> tuple[Times, list[Bar]]:
    "Where a job stands: asked by those who wait."
    print(f"\n## Status of {WAITING} jobs that wait, {CONNECTIONS} connections\n")
    ids = [bench.client.http.post(EXECUTION, json=SMALL).json()["jobID"] for _ in range(WAITING)]
    words = ["0", "0", *(f"/jobs/{id}" for id in ids)]
    with bench.bare("status") as url:
        ours = bench.contender("status", "token, row, statusInfo", bench.service.url, "get.lua", lambda: words)
        theirs = bench.contender("status, bare", "FastAPI and a constant", url, "get.lua", lambda: words)
        return bench.against(ours, theirs, STATUS)


def submit(bench: Bench) -> tuple[Times, list[Bar]]:
    "A job is accepted."
    print(f"\n## Submission, {CONNECTIONS} connections, as many users, a new key each\n")
    tokens = {
        role: [bench.service.newcomer(role).http.headers["Authorization"] for _ in range(CONNECTIONS)]
        for role in ("admin", "recruiter")
    }

    def words(role: str = "admin") -> list[str]:
        _forget(bench.service)
        return [uuid.uuid4().hex, json.dumps(SMALL), *tokens[role]]

    does, turns = "token, area and season checked, key, limits, row, call", "the same, in turns: a quota is counted"
    with bench.bare("submit") as url:
        at = bench.service.url + EXECUTION
        ours = bench.contender("submit", does, at, "post.lua", words)
        others = bench.contender("submit, recruiters", turns, at, "post.lua", lambda: words("recruiter"))
        theirs = bench.contender("submit, bare", "FastAPI: token, row, call", url + EXECUTION, "post.lua", words)
        times = interleave([ours, others, theirs], bench.rounds)
        bench.told([ours, others, theirs], times)
        return times, [ratio("submit vs submit, bare", theirs.name, ours.name, times, SUBMIT, at_least=True)]


def _forget(service: Deployed) -> None:
    "No jobs, no calls: as at the beginning."
    with service.engine.begin() as conn:
        conn.execute(tables.jobs.delete())
    with Redis.from_url(service.place.settings["redis"]["url"]) as redis:
        redis.flushall()


def tile(bench: Bench) -> tuple[Times, list[Bar]]:
    "Pictures of a map."
    area = settings.area(ROOT)
    body = {"inputs": {"aoi": area, "year": settings.season(ROOT).year}}
    _forget(bench.service)
    worker = bench.service.start_worker()
    id = bench.client.http.post(EXECUTION, json=body).json()["jobID"]
    assert bench.client.ended(id, 120)["status"] == "successful"
    worker.stop()
    job = bench.service.row(id)
    cog = bench.service.results().local_or_vsi(job, "map.tif")
    edge = 0.02 * (job.east - job.west)  # TiTiler refuses a tile beside the raster, ours gives an empty one
    inside = (job.west + edge, job.south + edge, job.east - edge, job.north - edge)
    places = [f"{t.z}/{t.x}/{t.y}" for t in morecantile.tms.get("WebMercatorQuad").tiles(*inside, list(ZOOMS))]
    print(f"\n## {len(places)} tiles of a map, zooms {ZOOMS[0]}-{ZOOMS[-1]}, {CONNECTIONS} connections\n")
    words = ["0", "0", *(f"/tiles/jobs/{id}/{place}.png" for place in places)]
    plain = ["0", "0", *(f"/tiles/WebMercatorQuad/{place}.png?url={cog}&bidx=1" for place in places)]
    with bench.bare("tiles") as url:
        ours = bench.contender("tile", "token, row, colours, tile", bench.service.url, "get.lua", lambda: words)
        theirs = bench.contender("tile, bare", "TiTiler on the same COG", url, "get.lua", lambda: plain)
        return bench.against(ours, theirs, TILE)


def infer(bench: Bench) -> tuple[Times, list[Bar]]:
    "A row of features becomes a class; there is no bar."
    print(f"\n## Inference, {ROWS} row, {CONNECTIONS} connections\n")
    features = np.random.default_rng(1).uniform(0, 1, ROWS * 51).round(4).tolist()
    shape = {"name": "features", "shape": [ROWS, 51], "datatype": "FP32"}
    body = json.dumps({"inputs": [shape | {"data": features}]})
    answers = bench.service.start_answers()
    ready = lambda: bench.client.http.get("/v2/health/ready").status_code == 200  # noqa: E731
    until(ready, 120, "the side that answers is not ready")
    does = "token, then the champion in a process of its own, on the other core"
    url = f"{bench.service.url}/v2/models/geocrop/infer"
    ours = bench.contender("infer", does, url, "post.lua", lambda: ["0", body, bench.token])
    times = interleave([ours], bench.rounds)
    bench.told([ours], times)
    answers.stop()
    return times, []


# --- for minutes -----------------------------------------------------------------------------------------------------


def soak(bench: Bench, minutes: float) -> tuple[dict[str, Any], list[Bar]]:
    "Many jobs, many who ask for them, and a worker that works them off."
    print(f"\n## {QUEUED} jobs, {POLLERS} pollers, {minutes:g} minutes\n")
    service, client = bench.service, bench.client
    _forget(service)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda k: client.submit(SMALL["inputs"]["aoi"], key=f"soak {k}"), range(QUEUED)))
    refused = sum(answer.status_code != 201 for answer in answers)
    paths = [f"/jobs/{answer.json()['jobID']}" for answer in answers[:: QUEUED // POLLERS]]
    worker = service.start_worker()
    memory: list[tuple[float, float]] = []
    with _sampled(service.api.pid, memory):
        polled = wrk(
            service.url, "get.lua", "0", f"{EVERY_MS}", *paths, seconds=60 * minutes, token=bench.token,
            connections=POLLERS,
        )  # fmt: skip
    worker.stop()
    counts = jobs.counts(service.engine)
    seconds, mb = np.array(memory).T
    kept = seconds >= SETTLED * seconds[-1]
    slope_mb_min = float(np.polyfit(seconds[kept], mb[kept], 1)[0]) * 60
    first, last = (float(np.median(part)) for part in (mb[kept][:5], mb[kept][-5:]))
    by_minute = [
        float(np.median(mb[(seconds >= at - 5) & (seconds <= at + 5)])) for at in range(0, int(seconds[-1]), 60)
    ]
    rows = [
        ["submitted", f"{QUEUED - refused} of {QUEUED}"],
        ["ended meanwhile", f"{counts['successful']} successful, {counts['failed']} failed"],
        ["asked", f"{polled['requests']:.0f}, {polled['requests'] / polled['seconds']:.0f} a second"],
        ["p50, p99, longest", f"{polled['p50_ms']:.1f}, {polled['p99_ms']:.1f}, {polled['max_ms']:.0f} ms"],
        [
            "memory of the API",
            f"{mb[0]:.1f} MB at first, {first:.1f} after {SETTLED:.0%} of the time, {last:.1f} at last",
        ],
        ["its slope after that", f"{slope_mb_min:+.2f} MB a minute"],
        ["each minute", ", ".join(f"{value:.1f}" for value in by_minute)],
    ]
    print(table(["what", "found"], rows))
    told: dict[str, Any] = polled | {
        "first_mb": mb[0],
        "settled_mb": first,
        "last_mb": last,
        "slope_mb_min": slope_mb_min,
        **counts,
    }
    told["minutes_mb"] = by_minute
    wrong = refused + counts["failed"] + polled["refused"] + polled["broken"]
    return told, [
        Bar("soak: requests and jobs that failed", wrong, 0, unit=""),
        Bar("soak: memory at last vs settled", last / first, GROWTH),
    ]


@contextlib.contextmanager
def _sampled(pid: int, samples: list[tuple[float, float]]) -> Iterator[None]:
    "Memory (MB) of a process over time (seconds), as long as the `with` lasts."
    over, process = threading.Event(), psutil.Process(pid)

    def sample() -> None:
        elapsed = 0.0
        while True:
            samples.append((elapsed, process.memory_info().rss / 1e6))
            if over.wait(SAMPLE_S):
                return
            elapsed += SAMPLE_S

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# --- all of it -------------------------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of load on each server in each round")
    parser.add_argument("--minutes", type=float, default=5, help="of the soak")
    parser.add_argument("--json", type=Path, help="write everything there")
    return parser.parse_args()


@contextlib.contextmanager
def running(given: argparse.Namespace) -> Iterator[Bench]:
    "A service on servers of its own, with the project's model and season."
    catalogue, bundle = ROOT / "data/season/catalog.json", ROOT / "results/model"
    missing = [str(path) for path in (catalogue, bundle) if not path.exists()]
    missing += [name for name in ("wrk", "taskset", "redis-server", CHROMIUM) if shutil.which(name) is None]
    if missing:
        sys.exit(f"bench/serving.py: found no {', '.join(missing)}. Run: make repro; bench/setup.sh")
    with (
        tempfile.TemporaryDirectory(prefix="geocrop-bench-") as folder,
        servers(Path(folder), catalogue, bundle, s3=False) as ground,
    ):
        place = ground.place().but("jobs", waiting=MANY, recruiter_jobs=MANY, lease_s=30, heartbeat_s=5, reconcile_s=10)
        with deployed(place, workers=0, before=PINNED) as service:
            yield Bench(service, service.newcomer("admin"), given.rounds, given.seconds)


def main() -> None:
    given = arguments()
    os.sched_setaffinity(0, {OTHER_CORE})
    about = machine("fastapi", "uvicorn", "titiler.core", "rq", "sqlalchemy", "psycopg")
    print(about)
    told: dict[str, Any] = {"machine": about, "seconds": given.seconds, "connections": CONNECTIONS}
    bars: list[Bar] = []
    with running(given) as bench:
        for run in (start, page, status, submit, tile, infer):
            if run.__name__ in given.part:
                tell(run.__name__)
                _, more = run(bench)
                bars += more
        if "soak" in given.part:
            tell("soak")
            told["soak"], more = soak(bench, given.minutes)
            bars += more
        told["found"] = {name: rounds[-given.rounds :] for name, rounds in bench.found.items()}
    finish(bars, given.json, **told)


if __name__ == "__main__":
    main()
