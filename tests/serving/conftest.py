"""What the tests of the service share: both databases, Redis and S3, real ones, started once.

Each test has a database of its own, empty and upgraded; it is a copy, since migrations take longer than a test.
"""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asked
import boto3
import psycopg
import pytest
import redis_server
import swift_s3
from bundles import guessing
from loopback import free_ports
from postgres import binaries, postgres
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from redis import Redis
from runners import LIMITS, SMALL, Stable, Watched
from sqlalchemy import Engine

from geocrop.settings import Jobs, Store
from geocrop.store import bucket
from serving.jobs import database, models, users
from serving.jobs.jobs import Job
from serving.jobs.models import Model
from serving.jobs.users import User
from serving.worker.bell import Bell
from serving.worker.leash import Leash
from serving.worker.worker import Worker

ROOT = Path(__file__).parents[2]

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


# --- workers ---------------------------------------------------------------------------------------------------------


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
