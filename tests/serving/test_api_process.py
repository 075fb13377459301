"The API as a process: what it loads, when it does not start, how it ends, and how a new one takes over."

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import asked
import httpx
import pytest
import service
import side
from loopback import free_ports
from service import Project
from sqlalchemy import Engine

from serving.api.__main__ import main
from serving.jobs.users import User

FORBIDDEN = (
    "numba", "xgboost", "lightgbm", "catboost", "sklearn", "mlflow", "pandas", "xarray", "dask", "scipy", "matplotlib",
    "boto3", "geopandas", "torch", "IPython", "rich",
)  # fmt: skip


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


def test_it_starts_small_and_loads_no_science(project: Project):
    code = f"""if True:
        import json, sys
        from serving.api.app import create_app
        app = create_app()
        app.openapi()
        from pathlib import Path
        status = Path("/proc/self/status").read_text()
        print(json.dumps([
            int(status.split("VmHWM:")[1].split()[0]) / 1024,
            sorted({{name.split(".")[0] for name in sys.modules}} & set({FORBIDDEN!r})),
            sorted(n for n in sys.modules if n.startswith("geocrop.")),
        ]))
    """
    ran = subprocess.run([sys.executable, "-c", code], cwd=service.ROOT, capture_output=True, text=True, check=True)
    megabytes, brought, ours = json.loads(ran.stdout)
    assert megabytes < 250  # of the 512 that it may have; how soon it starts: bench/serving.py --part start
    assert brought == []
    assert ours == ["geocrop.schema", "geocrop.settings", "geocrop.store"]


def rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def test_it_stays_small_at_work(site: Any):
    with httpx.Client(base_url=site.live.url, headers=site.headers) as web:
        for x in range(2400, 2404):
            for y in range(2251, 2255):
                assert web.get(f"/tiles/jobs/{site.job.id}/12/{x}/{y}.png").status_code == 200
        for _ in range(50):
            assert web.get(f"/jobs/{site.job.id}/results").status_code == 200
            assert web.get(f"/jobs/{site.job.id}/files/map.tif").status_code == 200
    assert rss_mb(site.live.process.pid) < 512


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("API_SECRET", "short", "GEOCROP_API_SECRET"),
        ("API_EMBEDDED", "no", "no secret"),
        ("STORE_RESULTS", "", "[store]"),
        ("JOBS_WAITING", "many", "waiting"),
    ],
)
def test_it_says_in_one_line_why_it_does_not_start(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, name: str, value: str, says: str
):
    monkeypatch.setenv(f"GEOCROP_{name}", value)
    assert main([]) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1


def test_it_binds_the_address_it_is_given(project: Project):
    [port] = free_ports(1)
    env = {**os.environ, **project.environment, "PYTHONPATH": str(service.ROOT)}
    command = [sys.executable, "-m", "serving.api", "--port", str(port)]
    with subprocess.Popen(command, env=env, cwd=project.folder, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < end
                    time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_sigterm_ends_streams_and_waits_for_requests(project: Project, engine: Engine, user: User):
    job = asked.job(engine, user)
    found: dict[str, Any] = {}
    with (
        side.serve() as other,
        service.listening() as sock,
        service.api(project, sock, {"GEOCROP_API_ANSWERS": other.url}) as live,
        httpx.Client(base_url=live.url, timeout=30) as web,
    ):
        other.may_answer.clear()
        web.headers.update(service.signed_in(web, user.name, "correct horse"))

        def wait_for_the_other_side() -> None:
            found["slow"] = httpx.get(f"{live.url}/v2", timeout=30)

        def follow() -> None:
            with web.stream("GET", f"/jobs/{job.id}/events") as stream:
                lines = stream.iter_lines()
                found["first"] = next(lines)
                following.set()
                found["rest"] = list(lines)

        following = threading.Event()
        threads = [threading.Thread(target=work) for work in (wait_for_the_other_side, follow)]
        for thread in threads:
            thread.start()
        assert other.was_asked.wait(60) and following.wait(60)
        live.process.send_signal(signal.SIGTERM)
        threads[1].join(30)
        assert not threads[1].is_alive() and found["first"] == "event: status"  # the stream has ended
        time.sleep(1.5)  # longer than idle connections are kept
        assert threads[0].is_alive() and live.process.poll() is None  # the request has not
        other.may_answer.set()
        assert live.process.wait(60) == 0
        for thread in threads:
            thread.join(30)
    assert found["slow"].status_code == 200 and found["slow"].headers["connection"] == "close"


def test_a_new_process_takes_over_and_no_request_is_lost(project: Project, engine: Engine, user: User):
    "Clients that open a connection for each request, and clients that keep theirs."
    job = asked.job(engine, user)
    answered: list[int] = []
    failed: list[Exception] = []
    done = threading.Event()

    def hammer(keep: bool) -> None:
        with httpx.Client(base_url=url, headers=headers, timeout=60) as web:
            while not done.is_set():
                try:
                    answer = (web if keep else httpx).get(f"{url}/jobs/{job.id}", headers=headers, timeout=60)
                    answered.append(answer.status_code)
                except Exception as error:
                    failed.append(error)

    def more(number: int) -> None:
        "Wait until so many further requests are answered."
        wanted, end = len(answered) + number, time.monotonic() + 60
        while len(answered) < wanted:
            assert time.monotonic() < end
            time.sleep(0.02)

    with service.listening() as sock, service.api(project, sock) as old:
        url = old.url
        with httpx.Client(base_url=url) as web:
            headers = service.signed_in(web, user.name, "correct horse")
        clients = [threading.Thread(target=hammer, args=(number % 2 == 0,)) for number in range(6)]
        for client in clients:
            client.start()
        with service.api(project, sock) as new:
            more(20)  # both take them
            old.process.send_signal(signal.SIGTERM)
            assert old.process.wait(60) == 0
            more(20)
            done.set()
            for client in clients:
                client.join(60)
            assert new.process.poll() is None
    assert failed == [] and set(answered) == {200}
