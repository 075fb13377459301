"""Outputs travel between clones by a folder, or by an S3 server that verifies signatures, as .dvc/config says."""

import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from swift_s3 import SECRET_KEY, Server, serve

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / ".dvc/config"
DVC = Path(sys.executable).parent / "dvc"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    "An S3 server on which an administrator has made the bucket that .dvc/config names."
    with serve(tmp_path_factory.mktemp("swift")) as server:
        s3 = boto3.client(
            "s3", endpoint_url=server.endpoint, region_name="us-east-1",
            aws_access_key_id=server.environment["AWS_ACCESS_KEY_ID"], aws_secret_access_key=SECRET_KEY,
        )  # fmt: skip
        s3.create_bucket(Bucket=urlsplit(remote("minio")["url"]).netloc)
        yield server


def remote(name: str) -> dict[str, str]:
    "A remote of the committed configuration."
    config = ConfigParser()
    config.read(CONFIG)
    return dict(config[f"'remote \"{name}\"'"])


def dvc(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    "Run dvc without anything that this machine or its user knows of S3."
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    empty = {"HOME": str(folder.parent), "AWS_EC2_METADATA_DISABLED": "true"}
    return subprocess.run(
        [DVC, *arguments], cwd=folder, capture_output=True, text=True, env={**inherited, **empty, **environment}
    )


def clone(folder: Path) -> Path:
    "A repository with our committed DVC configuration and nothing else."
    (folder / ".dvc").mkdir(parents=True)
    shutil.copy(CONFIG, folder / ".dvc")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A clone with an output: a folder with a small file, an empty one and one of 6 MB."
    folder = clone(tmp_path_factory.mktemp("origin") / "first")
    (folder / "season/truth").mkdir(parents=True)
    (folder / "season/catalog.json").write_text('{"type": "Catalog"}')
    (folder / "season/truth/class.tif").write_bytes(bytes(range(256)) * 24_000)
    (folder / "season/empty").touch()
    added = dvc(folder, "add", "season")
    assert added.returncode == 0, added.stderr
    return folder


@pytest.fixture
def first(origin: Path, tmp_path: Path) -> Path:
    "That clone, for one test."
    return shutil.copytree(origin, tmp_path / "first")


def second(first: Path) -> Path:
    "Another clone, which knows of the output but does not have it."
    folder = clone(first.parent / "second")
    shutil.copy(first / "season.dvc", folder)
    return folder


def test_the_configuration_holds_no_host_and_no_secret():
    text = CONFIG.read_text()
    for word in ("endpointurl", "access_key", "secret", "token", "http://", "https://", "password"):
        assert word not in text
    assert "/config.local" in (ROOT / ".dvc/.gitignore").read_text().split()


def test_push_and_pull_by_the_default_remote_a_folder_beside_the_clones(first: Path):
    pushed = dvc(first, "push")
    assert pushed.returncode == 0, pushed.stderr
    assert "geocrop-dvc" in os.listdir(first.parent)
    there = second(first)
    pulled = dvc(there, "pull")
    assert pulled.returncode == 0, pulled.stderr
    assert contents(there / "season") == contents(first / "season")


def test_push_and_pull_by_an_s3_server_that_only_the_environment_names(first: Path, server: Server):
    pushed = dvc(first, "push", "--remote", "minio", **server.environment)
    assert pushed.returncode == 0, pushed.stderr
    there = second(first)
    pulled = dvc(there, "pull", "--remote", "minio", **server.environment)
    assert pulled.returncode == 0, pulled.stderr
    assert contents(there / "season") == contents(first / "season")
    assert "geocrop-dvc" not in os.listdir(first.parent)  # nothing took the other way


def test_the_embedded_season_reaches_a_clone_that_never_made_it(season: Path, tmp_path: Path):
    if not (ROOT / "data/dvc.lock").is_file():
        pytest.fail("embedded season: found no data/dvc.lock beside it; DVC did not make it. Run: make season")
    cache = dvc(ROOT, "cache", "dir").stdout.strip()
    clones = [clone(tmp_path / name) for name in ("maker", "reader")]
    for folder in clones:
        (folder / "data").mkdir()
        for name in ("params.yaml", "data/dvc.yaml", "data/dvc.lock", "data/.gitignore"):
            shutil.copy(ROOT / name, folder / name)
    maker, reader = clones
    (maker / ".dvc/config.local").write_text(f"[cache]\n    dir = {cache}\n")  # what was made here, without a copy
    pushed = dvc(maker, "push")
    assert pushed.returncode == 0, pushed.stderr
    pulled = dvc(reader, "pull")
    assert pulled.returncode == 0, pulled.stderr
    names = [str(p.relative_to(season)) for p in season.rglob("*") if p.is_file()]
    same, *other = filecmp.cmpfiles(season, reader / "data/season", names, shallow=False)
    assert len(names) == len(same) > 1000
    assert other == [[], []]


def test_a_wrong_key_is_refused_and_the_right_one_taken(first: Path, server: Server):
    (first / "season/only_here").write_text("not yet on the server")
    assert dvc(first, "add", "season").returncode == 0
    wrong = {**server.environment, "AWS_SECRET_ACCESS_KEY": SECRET_KEY + "x"}
    pushed = dvc(first, "push", "--remote", "minio", **wrong)
    assert pushed.returncode != 0
    assert "Forbidden" in pushed.stderr or "signature" in pushed.stderr, pushed.stderr
    there = second(first)
    assert dvc(there, "pull", "--remote", "minio", **server.environment).returncode != 0

    # the other way to name a server: config.local, which git ignores
    keys = {key: value for key, value in server.environment.items() if key != "AWS_ENDPOINT_URL"}
    (first / ".dvc/config.local").write_text(f"['remote \"minio\"']\n    endpointurl = {server.endpoint}\n")
    pushed = dvc(first, "push", "--remote", "minio", **keys)
    assert pushed.returncode == 0, pushed.stderr
    assert (first / ".dvc/config").read_bytes() == CONFIG.read_bytes()
    assert dvc(there, "pull", "--remote", "minio", **server.environment).returncode == 0
    assert contents(there / "season") == contents(first / "season")
