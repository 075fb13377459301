"""What the tests of the service share: both databases, Redis and S3, real ones, started once.

Each test has a database of its own, empty and upgraded; it is a copy, since migrations take longer than a test.
"""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asked
import boto3
import httpx
import psycopg
import pytest
import redis_server
import service
import side
import swift_s3
from fastapi.testclient import TestClient
from loopback import free_ports
from postgres import binaries, postgres
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from redis import Redis
from runners import ask, model, places, ready, stable, work  # noqa: F401  (fixtures of the worker)
from service import Project
from sqlalchemy import Engine

from geocrop.store import bucket
from serving.api.app import create_app
from serving.jobs import database, users
from serving.jobs.jobs import Job
from serving.jobs.users import User

PASSWORD = "correct horse"  # of the users of the tests


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    "Hashes that cost nothing: what they cost in earnest is the business of argon2's own tests."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(users, "HASHER", PasswordHash([Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)]))
        yield


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    "A folder that the account of the database may enter; those of pytest are closed to others."
    with tempfile.TemporaryDirectory(prefix="geocrop-serving-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def postgres_server(servers_folder: Path) -> Iterator[str]:
    "Address of a PostgreSQL server, without a database's name, in which the database `template` is upgraded."
    if binaries() is None:
        pytest.skip("no PostgreSQL with PostGIS: apt-get install postgresql-15 postgresql-15-postgis-3")
    folder, [port] = servers_folder / "postgres", free_ports(1)
    folder.mkdir()
    servers_folder.chmod(0o755)
    with postgres(folder, port) as dsn:
        server = f"postgresql://postgres@127.0.0.1:{port}"
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("CREATE DATABASE template")
        _upgrade(f"{server}/template")
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "An upgraded file."
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _upgrade(f"sqlite:///{path}")
    return path


def _upgrade(url: str) -> None:
    engine = database.connect(url)
    database.upgrade(engine)
    engine.dispose()


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    "An empty, upgraded file."
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'service.db')}"


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    "An empty, upgraded database of a server."
    with _new_database(postgres_server, "template") as url:
        yield url


@pytest.fixture
def bare_postgres_url(postgres_server: str) -> Iterator[str]:
    "A database with nothing in it, not even tables."
    with _new_database(postgres_server, "template1") as url:
        yield url


@contextlib.contextmanager
def _new_database(server: str, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield f"{server}/{name}"
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    "An empty, upgraded database of each kind, as settings.ini names it."
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    "An empty, upgraded database of each kind."
    engine = database.connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def user(engine: Engine) -> User:
    "A recruiter."
    return users.add(engine, "tendai", PASSWORD, "recruiter")


@pytest.fixture
def admin(engine: Engine) -> User:
    "Somebody who may do everything."
    return users.add(engine, "root", PASSWORD, "admin")


@pytest.fixture(scope="session")
def redis_server_url(servers_folder: Path) -> Iterator[str]:
    "Address of a Redis that all tests share."
    if redis_server.binary() is None:
        pytest.skip("no Redis: apt-get install redis-server")
    with redis_server.redis(servers_folder, free_ports(1)[0]) as url:
        yield url


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    "Address of a Redis with nothing in it."
    with Redis.from_url(redis_server_url) as client:
        client.flushall()
    return redis_server_url


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[swift_s3.Server]:
    "An S3 server that all tests share."
    with swift_s3.serve(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture
def s3_url(s3_server: swift_s3.Server, monkeypatch: pytest.MonkeyPatch) -> str:
    "A bucket of its own, as settings.ini names it, in an environment that finds it."
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"test-{uuid.uuid4().hex}"
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    "An empty store of each kind, as geocrop.store opens it."
    where = tmp_path / "store" if request.param == "folder" else request.getfixturevalue("s3_url")
    return bucket(where, make=True)


# --- the API ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "Models and baselines that all tests share."
    return service.stock(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def project(database_url: str, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    "A project folder on a database of each kind; the environment names its places."
    made = service.project(tmp_path / "project", database_url, shelf)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def client(project: Project) -> Iterator[TestClient]:
    "The API in this process, started."
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def tendai(client: TestClient, user: User) -> dict[str, str]:
    "What the recruiter sends to be let in."
    return service.signed_in(client, user.name, PASSWORD)


@pytest.fixture
def root(client: TestClient, admin: User) -> dict[str, str]:
    "What the administrator sends to be let in."
    return service.signed_in(client, admin.name, PASSWORD)


@dataclass(frozen=True)
class Site:
    "A service on SQLite that all tests share, in a process of its own, with a finished job. Leave no job waiting."

    live: service.Live
    project: Project
    engine: Engine
    user: User
    headers: dict[str, str]
    job: Job


@pytest.fixture(scope="session")
def site(sqlite_template: Path, shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    "The API as others meet it, over a socket."
    folder = tmp_path_factory.mktemp("site")
    url = f"sqlite:///{shutil.copy(sqlite_template, folder / 'service.db')}"
    engine = database.connect(url)
    user = users.add(engine, "ada", PASSWORD, "admin")
    with side.serve() as other, service.listening() as sock:
        made = service.project(folder, url, shelf, API_ANSWERS=other.url)
        job = service.finish(made, engine, asked.job(engine, user))
        with service.api(made, sock) as live, httpx.Client(base_url=live.url) as client:
            yield Site(live, made, engine, user, service.signed_in(client, user.name, PASSWORD), job)
    engine.dispose()
