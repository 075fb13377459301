"""Services that are hurt on purpose: on one machine without a server, and on a stack of servers.

`make chaos` runs the long form and prints what was promised, what was done, and how long it took.
"""

import contextlib
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bundles import guessing
from deployed import Client, Deployed, deployed
from ground import Ground, servers
from postgres import binaries
from redis_server import binary
from thin_season import thinned


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="chaos: as many jobs and blows as the promises name")


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    "Whether all that the promises name is done, or as much of it as a test has time for."
    return bool(request.config.getoption("long", False))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A model."
    return guessing(tmp_path_factory.mktemp("bundle") / "model")


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory, season: Path) -> Path:
    "A season of few scenes."
    return thinned(season, tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="session", params=["embedded", "stack"])
def ground(request: pytest.FixtureRequest, bundle: Path, catalogue: Path, servers_folder: Path) -> Iterator[Ground]:
    "SQLite, folders, and workers that look for themselves; or PostgreSQL with PostGIS, S3 and Redis."
    folder = servers_folder / f"{request.param}-{uuid.uuid4().hex[:8]}"  # one of them may come twice in a session
    folder.mkdir()
    if request.param == "embedded":
        yield Ground(folder, catalogue, bundle)
        return
    if binaries() is None or binary() is None:
        pytest.skip("no PostgreSQL with PostGIS, or no Redis: apt-get install postgresql-15-postgis-3 redis-server")
    servers_folder.chmod(0o755)
    with servers(folder, catalogue, bundle) as ground:
        yield ground


@pytest.fixture(scope="session")
def service(ground: Ground) -> Iterator[Deployed]:
    "A service with two workers and a small disc that many tests share: each leaves it whole."
    place = ground.place()
    with disc(place.folder / "scratch"), deployed(place, workers=2) as service:
        service.start_answers()
        yield service


@contextlib.contextmanager
def disc(folder: Path) -> Iterator[None]:
    "A disc of its own at a folder, where we may mount one."
    folder.mkdir()
    mounted = (
        os.getuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder]).returncode == 0
    )
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)


@pytest.fixture
def admin(service: Deployed) -> Client:
    "Somebody who may ask for any number of maps."
    return service.newcomer("admin")


# --- what was done ---------------------------------------------------------------------------------------------------


@pytest.fixture
def did(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    "Say in a few words, with counts, what was done to keep a promise to the test."
    return lambda text: record_property("did", text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    "A row for each promise: its words are the docstring's of the test."
    rows = [
        (dict(report.user_properties), report)
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.when == "call" and "promise" in dict(report.user_properties)
    ]
    if rows:
        terminalreporter.section("promises")
    for told, report in rows:
        kept = "kept" if report.passed else "BROKEN"
        terminalreporter.line(f"{kept:6}  {report.duration:6.1f} s  {told['ground']:8}  {told['promise']}")
        terminalreporter.line(f"{'':27}{told.get('did', '')}")


@pytest.fixture(autouse=True)
def promise(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    "What a test is about, for the table."
    record_property("promise", (request.function.__doc__ or request.node.name).strip())
    params = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    record_property("ground", params.get("ground", "bench"))
