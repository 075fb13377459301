"""Scripts that the cluster runs, run here: backup and restore on a real PostgreSQL, retraining on a real git and DVC
remote, buckets on a real S3 server, digests with a stand-in for the tool that asks registries."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import swift_s3
import yaml
from loopback import free_ports
from postgres import binaries, postgres

from serving.jobs import database, users

ROOT = Path(__file__).parents[1]
POSTGRES = ROOT / "k8s/base/postgres"
SCRIPTS = ROOT / "k8s/workflows/scripts"
TOOLS = Path(sys.executable).parent


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, env=os.environ | environment)


# --- backup and restore ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    "libpq's variables of a PostgreSQL that has a service's tables and a user, and MLflow's database."
    if binaries() is None:
        pytest.skip("no PostgreSQL with PostGIS; on Debian: apt-get install postgresql-15 postgresql-15-postgis-3")
    folder = Path(tempfile.mkdtemp(prefix="geocrop-restore-"))  # not pytest's, which only we may enter
    (port,) = free_ports(1)
    try:
        with postgres(folder, port) as dsn:
            with psycopg.connect(dsn, autocommit=True) as first:
                first.execute("CREATE ROLE geocrop SUPERUSER LOGIN")
                for name in ("geocrop", "mlflow"):
                    first.execute(f"CREATE DATABASE {name} OWNER geocrop")
            with psycopg.connect(f"{dsn} user=geocrop dbname=geocrop") as here:
                here.execute("CREATE EXTENSION postgis")
            engine = database.connect(f"postgresql://geocrop@127.0.0.1:{port}/geocrop")
            database.upgrade(engine)
            users.add(engine, "ada", "a long password of hers", "admin")
            engine.dispose()
            path = f"{binaries()}:{os.environ['PATH']}"
            yield {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "geocrop", "PATH": path}
    finally:
        shutil.rmtree(folder)


def ask(server: dict[str, str], question: str, name: str = "geocrop") -> list[tuple]:
    with psycopg.connect(f"host=127.0.0.1 port={server['PGPORT']} user=geocrop dbname={name}") as connection:
        return connection.execute(question).fetchall()


def backup(server: dict[str, str], folder: Path, keep: int = 14) -> Path:
    "A backup; its folder."
    done = run("sh", POSTGRES / "backup.sh", folder, "geocrop", "mlflow", **server, KEEP=str(keep))
    assert done.returncode == 0, done.stderr
    return sorted(folder.glob("2*Z"))[-1]


def test_a_restored_database_is_that_of_the_backup(server: dict[str, str], tmp_path: Path):
    made = backup(server, tmp_path)
    assert sorted(path.name for path in made.iterdir()) == ["geocrop.dump", "mlflow.dump", "sha256"]
    with psycopg.connect(f"host=127.0.0.1 port={server['PGPORT']} user=geocrop dbname=geocrop") as careless:
        careless.execute("DELETE FROM users")
        careless.commit()  # and stays connected: the restore sends it away
        done = run("sh", POSTGRES / "restore.sh", made, "geocrop", **server)
        assert done.returncode == 0, done.stderr
    assert ask(server, "SELECT name FROM users") == [("ada",)]
    assert ask(server, "SELECT count(*) FROM users", "geocrop_before") == [(0,)]
    assert ask(server, "SELECT postgis_lib_version() IS NOT NULL") == [(True,)]
    engine = database.connect(f"postgresql://geocrop@127.0.0.1:{server['PGPORT']}/geocrop")
    database.upgrade(engine)  # Alembic finds its tables, and nothing to do
    assert [user.name for user in users.listed(engine)] == ["ada"]
    engine.dispose()
    again = run("sh", POSTGRES / "restore.sh", made, "geocrop", **server)
    assert again.returncode == 1 and "geocrop_before" in again.stderr  # what was kept is not thrown away unseen


def test_a_damaged_dump_changes_nothing(server: dict[str, str], tmp_path: Path):
    made = backup(server, tmp_path)
    (made / "mlflow.dump").write_bytes((made / "mlflow.dump").read_bytes()[:-20] + bytes(20))
    done = run("sh", POSTGRES / "restore.sh", made, "mlflow", **server)
    assert done.returncode != 0 and "mlflow.dump" in done.stdout + done.stderr
    assert ask(server, "SELECT datname FROM pg_database WHERE datname LIKE 'mlflow%'") == [("mlflow",)]


def test_an_unfinished_backup_is_none_and_old_ones_go(server: dict[str, str], tmp_path: Path):
    for day in ("20240101", "20240102", "20240103"):
        (tmp_path / f"{day}T000000Z").mkdir()
    failed = run("sh", POSTGRES / "backup.sh", tmp_path, "geocrop", "nowhere", **server)
    assert failed.returncode != 0 and len(list(tmp_path.glob("2*Z"))) == 3
    newest = backup(server, tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.glob("2*Z")) == ["20240103T000000Z", newest.name]


def test_a_name_that_is_no_name_is_refused(tmp_path: Path):
    done = run("sh", POSTGRES / "restore.sh", tmp_path, "geocrop; DROP DATABASE mlflow")
    assert done.returncode == 2 and "expected a-z" in done.stderr


# --- retraining ------------------------------------------------------------------------------------------------------

PIPELINE = """
stages:
  train:
    cmd: wc -l < labels.csv > model.txt
    deps: [labels.csv]
    outs: [model.txt]
  gate:
    cmd: test $(cat model.txt) -lt 4 && printf '{"labels":%d}' $(cat model.txt) > gate.json
    deps: [model.txt]
    metrics: [{gate.json: {cache: false}}]
  export:
    cmd: sed 's/^/map by model of /' model.txt > map.txt
    deps: [model.txt, gate.json]
    outs: [map.txt]
"""


class Desk:
    "A project on a git server, which is a folder, with a DVC remote, which is another."

    def __init__(self, folder: Path):
        self.folder, self.origin, self.remote = folder, folder / "origin.git", folder / "remote"
        self.project = folder / "project"  # of the workflow
        self.environment = {
            "PATH": f"{TOOLS}:{os.environ['PATH']}", "HOME": str(folder), "DVC_NO_ANALYTICS": "1",
            "GIT_AUTHOR_NAME": "ada", "GIT_AUTHOR_EMAIL": "ada@geocrop.invalid",
            "GIT_COMMITTER_NAME": "ada", "GIT_COMMITTER_EMAIL": "ada@geocrop.invalid", "GIT_CONFIG_NOSYSTEM": "1",
        }  # fmt: skip
        work = folder / "desk"
        self.does("git", "init", "--quiet", "--bare", "--initial-branch=main", self.origin)
        self.does("git", "clone", "--quiet", self.origin, work)
        (work / ".dvc").mkdir()
        (work / ".dvc/config").write_text(
            f"[core]\n    analytics = false\n['remote \"minio\"']\n    url = {self.remote}\n"
        )
        (work / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
        (work / ".gitignore").write_text("/model.txt\n/map.txt\n")
        (work / "dvc.yaml").write_text(PIPELINE)
        (work / "dvc.lock").write_text("schema: '2.0'\n")
        (work / "gate.json").write_text("{}")
        (work / "labels.csv").write_text("maize\n")
        self.shares("first")

    def does(self, *words: object, at: Path | None = None) -> str:
        done = subprocess.run(
            list(map(str, words)), cwd=at, capture_output=True, text=True, env=os.environ | self.environment
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def shares(self, why: str) -> None:
        "Commit all of the desk, and push."
        for words in (
            ("add", "--all"),
            ("commit", "--quiet", "--message", why),
            ("pull", "--quiet", "--rebase", "origin"),
        ):
            if why != "first" or words[0] != "pull":
                self.does("git", *words, at=self.folder / "desk")
        self.does("git", "push", "--quiet", "origin", "main", at=self.folder / "desk")

    def labels(self, *crops: str) -> None:
        (self.folder / "desk/labels.csv").write_text("".join(f"{crop}\n" for crop in crops))
        self.shares("labels")

    def step(self, script: str, *words: object) -> subprocess.CompletedProcess[str]:
        "A step of the workflow."
        return run("sh", SCRIPTS / script, *words, **self.environment)

    def log(self) -> list[str]:
        return self.does("git", "-C", self.origin, "log", "--format=%s", "main").splitlines()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("retraining"))


def test_new_labels_come_back_as_a_commit_whose_data_is_in_the_remote(desk: Desk):
    desk.labels("maize", "soybean", "tobacco")
    for script, *words in (("fetch.sh", desk.origin, "main", desk.project, "minio"), ("repro.sh", desk.project)):
        done = desk.step(script, *words)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
    (desk.folder / "desk/readme.md").write_text("meanwhile")
    desk.shares("meanwhile")  # another's work, which must not be lost
    done = desk.step("keep.sh", desk.project, "main", "drift of $(reboot) 2023")
    assert done.returncode == 0, done.stderr
    assert desk.log() == ["model: retrained, drift of reboot 2023", "meanwhile", "labels", "first"]
    changed = desk.does("git", "-C", desk.origin, "show", "--name-only", "--format=", "main").split()
    assert changed == ["dvc.lock", "gate.json"]
    elsewhere = desk.folder / "elsewhere"
    desk.does("git", "clone", "--quiet", desk.origin, elsewhere)
    desk.does("dvc", "pull", "--quiet", "--remote", "minio", at=elsewhere)
    assert (elsewhere / "map.txt").read_text().split() == ["map", "by", "model", "of", "3"]
    again = desk.step("keep.sh", desk.project, "main", "by hand")
    assert again.returncode == 0 and "nothing has changed" in again.stdout and len(desk.log()) == 4


def test_a_model_that_the_gate_stops_is_not_kept(desk: Desk):
    desk.labels("maize", "soybean", "tobacco", "cotton")
    before = desk.log(), sorted(desk.remote.rglob("*"))
    assert desk.step("fetch.sh", desk.origin, "main", desk.project, "minio").returncode == 0
    done = desk.step("repro.sh", desk.project)
    assert done.returncode == 1 and "the gate, or a stage before it, stopped the model" in done.stderr
    assert (desk.log(), sorted(desk.remote.rglob("*"))) == before


# --- buckets ---------------------------------------------------------------------------------------------------------


def test_buckets_are_made_once(tmp_path: Path):
    with swift_s3.serve(tmp_path) as store:
        keys = store.environment | {"AWS_ENDPOINT_URL": store.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
        script = ROOT / "k8s/base/buckets.py"
        first = run(sys.executable, script, "geocrop-models", "geocrop-results", **keys)
        assert first.stdout.splitlines() == ["bucket geocrop-models: made", "bucket geocrop-results: made"], (
            first.stderr
        )
        again = run(sys.executable, script, "geocrop-dvc", "geocrop-models", **keys).stdout
        assert again.splitlines() == ["bucket geocrop-dvc: made", "bucket geocrop-models: was there"]


# --- digests ---------------------------------------------------------------------------------------------------------

SKOPEO = """#!/bin/sh
for last in "$@"; do :; done
printf 'manifest of %s' "$last"
"""


def test_digests_are_compared_and_written_and_ours_are_left_alone(tmp_path: Path):
    "The registry is a stand-in that answers with a manifest for each name and tag."
    for name in ("pin.sh", "kustomization.yaml"):
        shutil.copy(ROOT / "k8s/images" / name, tmp_path)
    (tmp_path / "skopeo").write_text(SKOPEO)
    (tmp_path / "skopeo").chmod(0o755)
    page = tmp_path / "kustomization.yaml"
    before = yaml.safe_load(page.read_text())["images"]
    others = [image for image in before if "digest" in image]
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    check = run("sh", tmp_path / "pin.sh", "--check", **path)
    assert check.returncode == 1 and len(check.stderr.splitlines()) == len(others) >= 3
    assert yaml.safe_load(page.read_text())["images"] == before
    written = run("sh", tmp_path / "pin.sh", **path)
    assert written.returncode == 0, written.stderr
    for image, now in zip(before, yaml.safe_load(page.read_text())["images"], strict=True):
        manifest = f"manifest of docker://{image['newName']}:{image['newTag']}"
        digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
        assert now == (image | {"digest": digest} if image in others else image)
    assert run("sh", tmp_path / "pin.sh", "--check", **path).returncode == 0
