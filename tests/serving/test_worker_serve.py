"The whole service in one command, as somebody starts it on a machine where the pipeline has run."

import io
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from loopback import free_ports
from runners import until

from geocrop import settings
from geocrop.cli import main
from geocrop.store import bucket
from serving.jobs import database, models, users
from serving.worker import process as guard_module
from serving.worker import serve

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, season: Path) -> dict[str, str]:
    "A service of its own: nothing is there but the model and the season."
    folder = tmp_path_factory.mktemp("service")
    store = {name: str(folder / "store" / name.lower()) for name in ("MODELS", "BASELINES", "RESULTS")}
    return {
        **os.environ,
        **{f"GEOCROP_STORE_{name}": path for name, path in store.items()},
        "GEOCROP_HOME": str(ROOT),
        "GEOCROP_DATABASE_URL": f"sqlite:///{folder / 'service.db'}",
        "GEOCROP_API_SECRET": secrets.token_hex(),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }


@dataclass
class Service:
    "A service that was started, and what it said."

    process: subprocess.Popen
    began: float
    news: dict[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, int]:
        "Process ids of its parts, by what they run."
        found = {}
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            found[next((word for word in words if word.startswith(("serving.", "geocrop."))), "?")] = int(pid)
        return found


@contextmanager
def started(environment: dict[str, str], *more: str) -> Iterator[Service]:
    "Until it answers; told to stop at the end, which it must do with status 0 and nothing left behind."
    guard = [sys.executable, "-ES", guard_module.__file__, str(os.getpid())]  # or it would outlive a run that is killed
    command = [*guard, sys.executable, "-m", "geocrop.cli", "serve", "--json", "--port", "0", *more]
    began = time.monotonic()
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        service = Service(process, began)
        try:
            assert process.stdout
            for line in process.stdout:
                service.news |= json.loads(line)
                if "url" in service.news:
                    break
            assert process.poll() is None, "it ended before it answered"
            yield service
            pids = service.parts.values()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        finally:
            process.kill()


def signed_in(service: Service, password: str) -> httpx.Client:
    client = httpx.Client(base_url=service.news["url"], trust_env=False, timeout=30)
    answer = client.post("/auth/token", data={"username": "admin", "password": password})
    assert answer.status_code == 200, answer.text
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return client


def finished(client: httpx.Client) -> dict:
    "A job of 1 km, asked for and waited for."
    asked = {"inputs": {"aoi": [31.05, -17.83, 1000.0], "year": 2022, "model": "champion"}}
    answer = client.post("/processes/crop-map/execution", json=asked)
    assert answer.status_code == 201, answer.text
    job = {}

    def ended() -> bool:
        job.update(client.get(answer.headers["location"]).json())
        return job["status"] in ("successful", "failed")

    until(ended, 120)
    assert job["status"] == "successful", job
    return job


def test_a_fresh_service_has_a_map_within_two_minutes_and_survives_its_parts(environment: dict[str, str]):
    with started(environment) as service:
        up_s = time.monotonic() - service.began
        password = service.news["password"]
        with closing(signed_in(service, password)) as client:
            page = client.get("/", headers={"Accept": "text/html"})
            assert page.status_code == 200 and "text/html" in page.headers["content-type"]
            job = finished(client)
            first_s = time.monotonic() - service.began
            assert first_s < 120
            until(lambda: len(client.get("/baselines").json()["baselines"]) == 11, 60)
            assert client.get(f"/jobs/{job['jobID']}/results").json()["summary"]["hectares_counted"]
            print(f"answers after {up_s:.1f} s, first map after {first_s:.1f} s")
            before = service.parts
            for part in ("serving.api", "geocrop.cli", "serving.worker.answers"):
                os.kill(before[part], signal.SIGKILL)
            until(lambda: len(service.parts) == len(before) and not {*before.values()} & {*service.parts.values()}, 60)

            def quoted() -> bool:
                try:
                    asked = {"inputs": {"aoi": [31.05, -17.83, 1000.0], "year": 2022}}
                    return client.post("/processes/crop-map/quote", json=asked).is_success
                except httpx.HTTPError:
                    return False

            until(quoted, 60)
            finished(client)


def test_a_second_start_goes_on_where_the_first_ended(environment: dict[str, str]):
    url = environment["GEOCROP_DATABASE_URL"]
    engine = database.connect(url)
    database.upgrade(engine)
    if not users.listed(engine):
        users.add(engine, "admin", "correct horse", "admin")
    known = users.listed(engine)
    with started(environment) as service:
        assert "password" not in service.news
        assert service.news["model"] == "zimbabwe_embedded 1"
    assert users.listed(engine) == known


def test_what_cannot_be_served_is_said_in_one_line(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with monkeypatch.context() as patch:
        patch.setenv("GEOCROP_CATALOGUE_HREF", str(tmp_path / "catalog.json"))
        assert main(["serve", "--port", "0"]) == 2
    assert "catalog.json: found no such file; expected a season of imagery. Run: make repro" in capsys.readouterr().err
    for name in ("params.yaml", "settings.ini"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    with monkeypatch.context() as patch:
        patch.setenv("GEOCROP_HOME", str(tmp_path))
        patch.setenv("GEOCROP_STORE_MODELS", str(tmp_path / "models"))
        patch.setenv("GEOCROP_CATALOGUE_HREF", str(ROOT / "data/season/catalog.json"))
        assert main(["serve", "--port", "0"]) == 2
    assert "expected a fitted model. Run: make repro" in capsys.readouterr().err
    command = [sys.executable, "-m", "geocrop.cli", "serve", "--port", "0", "--workers", "0"]
    env = environment | {"GEOCROP_API_SECRET": "too short"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "Service, api: found an end at once" in done.stderr
    [port] = free_ports(1)
    with serve.listening("127.0.0.1", port):
        assert main(["serve", "--port", str(port)]) == 2
    assert "expected an address that is free. Choose another with --port." in capsys.readouterr().err


def test_users_are_added_by_a_password_that_no_argument_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    url = f"sqlite:///{tmp_path / 'service.db'}"
    monkeypatch.setenv("GEOCROP_DATABASE_URL", url)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "correct horse")
    assert main(["users", "add", "tendai"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["users", "add", "rudo", "--role", "admin", "--password-stdin"]) == 2
    told = capsys.readouterr()
    assert "Password of rudo: found 0 characters" in told.err and "correct horse" not in told.out
    assert main(["users", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"users": [{"name": "tendai", "role": "recruiter"}]}
    user = users.verify(database.connect(url), "tendai", "correct horse")
    assert user and user.role == "recruiter"


def test_the_models_of_the_project_follow_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    "The first is taken as it is; a newer one when it has passed; none twice, and never instead of a chosen one."
    from bundles import guessing

    for name in ("params.yaml", "settings.ini"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    store = bucket(settings.settings("store", tmp_path).models, make=True)
    guessing(tmp_path / "results/model")
    first = serve.champion(tmp_path)
    assert (first.version, serve.champion(tmp_path)) == ("1", first)
    content = (ROOT / "results/model").iterdir()
    for path in content:
        (tmp_path / "results/model" / path.name).write_bytes(path.read_bytes())
    assert serve.champion(tmp_path) == first  # no gate has seen it
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/gate.json").write_bytes((ROOT / "reports/gate.json").read_bytes())
    second = serve.champion(tmp_path)
    assert second.version == "2"
    models.point(store, first)  # somebody prefers the old one
    assert serve.champion(tmp_path) == first
