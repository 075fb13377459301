"What services stand on: SQLite and folders, or servers that can be switched off and on."

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import lossy_s3
import postgres
import psycopg
import redis_server
import swift_s3
from deployed import QUICK, Place, environment, secret
from loopback import free_ports
from supervised import Switch

from geocrop import settings
from geocrop.store import bucket
from serving.jobs import database, models

ROOT = Path(__file__).parents[2]
NAME = settings.params("base", ROOT).name


@dataclass
class Ground:
    "What services of one kind stand on. The servers can be switched off."

    folder: Path
    catalogue: Path
    bundle: Path
    database: Switch | None = None  # None: SQLite
    database_url: str = ""  # of the server, without a database's name
    redis: Switch | None = None  # None: workers look into the database
    redis_url: str = ""
    s3: lossy_s3.Proxy | None = None  # None: folders
    environment: dict[str, str] = field(default_factory=dict)  # of S3, past the way on which things go wrong

    def place(self) -> Place:
        "A place for a service of its own: empty, but for a champion."
        name = f"place_{uuid.uuid4().hex[:8]}"
        folder = self.folder / name
        folder.mkdir()
        with environment(self.environment):
            stores = {key: self._store(folder, key) for key in ("models", "results", "baselines")}
            where = bucket(stores["models"], make=True)
            models.point(where, models.put(where, self.bundle, NAME, "1"))
        engine = database.connect(url := self._database(folder, name))
        database.upgrade(engine)
        engine.dispose()
        told: dict[str, dict[str, Any]] = {
            "store": stores, "database": {"url": url}, "redis": {"url": self.redis_url}, "jobs": dict(QUICK),
            "catalogue": {"href": self.catalogue}, "api": {
                "secret": secret(), "embedded": self.database is None,
                "answers": f"http://127.0.0.1:{free_ports(1)[0]}",
            },
        }  # fmt: skip
        on_the_way = {"AWS_ENDPOINT_URL": self.s3.url} if self.s3 else {}
        return Place(folder, told, self.environment | on_the_way)

    def _store(self, folder: Path, key: str) -> str:
        if self.s3 is None:
            return str(folder / key)
        name = f"{key}-{uuid.uuid4().hex[:8]}"
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=name)
        return f"s3://{name}"

    def _database(self, folder: Path, name: str) -> str:
        if self.database is None:
            return f"sqlite:///{folder}/service.db"
        with psycopg.connect(f"{self.database_url}/postgres", autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name}")
        return f"{self.database_url}/{name}"


@contextlib.contextmanager
def servers(
    folder: Path,  # The account of PostgreSQL must be able to enter it
    catalogue: Path,
    bundle: Path,
    s3: bool = True,  # Whether results lie in S3; otherwise in folders
) -> Iterator[Ground]:
    "PostgreSQL with PostGIS, Redis, and S3. FileNotFoundError where a program is missing."
    folder.chmod(0o755)
    (cluster := folder / "postgres").mkdir()
    postgres.initialise(cluster)
    ports = free_ports(2)
    with ExitStack() as stack:
        ground = Ground(folder, catalogue, bundle)
        ground.database = stack.enter_context(Switch(lambda: postgres.started(cluster, ports[0])))
        ground.database_url = f"postgresql://postgres@127.0.0.1:{ports[0]}"
        ground.redis = stack.enter_context(Switch(lambda: redis_server.redis(folder, ports[1])))
        ground.redis_url = f"redis://127.0.0.1:{ports[1]}/0"
        if s3:
            (discs := folder / "swift").mkdir()
            server = stack.enter_context(swift_s3.serve(discs))
            ground.s3, ground.environment = stack.enter_context(lossy_s3.proxy(server.endpoint)), server.environment
        yield ground
