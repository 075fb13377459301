"Results in a folder and in S3: what is said to be there is there, byte for byte, and nothing lies elsewhere."

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asked
import lossy_s3
import numpy as np
import obstore
import pytest
import rasterio
import swift_s3
from affine import Affine
from obstore.store import S3Store
from sqlalchemy import Engine

from geocrop.schema import StoreError
from geocrop.store import bucket, gdal_options
from serving.jobs import database, jobs, users
from serving.jobs.jobs import Job
from serving.jobs.results import Results

FILES = {"map.tif": bytes(range(256)) * 5000, "map.json": b'{"type": "Feature"}\n', "empty.txt": b""}


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[Engine]:
    "The database matters little here."
    engine = database.connect(sqlite_url)
    yield engine
    engine.dispose()


@pytest.fixture
def run(engine: Engine) -> Job:
    "A job in its first attempt."
    asked.job(engine, users.add(engine, "tendai", "password of tendai", "recruiter"))
    job = jobs.claim(engine, "worker", 60)
    assert job
    return job


@pytest.fixture
def made(tmp_path: Path) -> Path:
    "What a runner left in its folder."
    folder = tmp_path / "made"
    folder.mkdir()
    for name, content in {**FILES, ".hidden": b"draft"}.items():
        (folder / name).write_bytes(content)
    return folder


def keys(store: Any) -> list[str]:
    return sorted(entry["path"] for page in obstore.list(store) for entry in page)


def published(engine: Engine, run: Job, manifest: dict) -> Job:
    assert jobs.publish(engine, run, "worker", {"files": manifest})
    return jobs.get(engine, run.id)


def test_files_in_a_folder_are_on_the_disc_before_anybody_hears_of_them(
    run: Job, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    "The row outlives a loss of power, so what it names has to."
    synced: dict[int, bytes] = {}  # inode -> what it held when it was written to the disc

    def fsync(fd: int) -> None:
        now = os.fstat(fd)
        synced[now.st_ino] = os.pread(fd, now.st_size, 0) if stat.S_ISREG(now.st_mode) else b""

    root = tmp_path / "store"
    results = Results(bucket(root, make=True))
    monkeypatch.setattr(os, "fsync", fsync)
    manifest = results.put(run, made)
    for name, content in FILES.items():
        path = root / manifest[name]["key"]
        assert synced[path.stat().st_ino] == content
        while (path := path.parent) != tmp_path:
            assert path.stat().st_ino in synced


def test_what_was_put_is_read_whole_and_in_parts(store: Any, engine: Engine, run: Job, made: Path):
    results = Results(store)
    manifest = results.put(run, made)
    assert keys(store) == sorted(f"results/{run.id}/1/{name}" for name in FILES)
    for name, content in FILES.items():
        assert manifest[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert manifest[name]["size"] == len(content)
    job = published(engine, run, manifest)
    assert {name: results.read(job, name) for name in FILES} == FILES
    assert {name: b"".join(results.open(job, name)) for name in FILES} == FILES
    tif = FILES["map.tif"]
    assert b"".join(results.open(job, "map.tif", start=7, end=300)) == tif[7:300]
    assert b"".join(results.open(job, "map.tif", start=len(tif) - 5)) == tif[-5:]
    assert b"".join(results.open(job, "map.tif", start=9, end=9)) == b""


def test_a_large_file_goes_in_parts(store: Any, run: Job, tmp_path: Path):
    folder = tmp_path / "large"
    folder.mkdir()
    content = hashlib.shake_256(b"map").digest(12_000_001)  # beyond obstore's 5 MiB of one part
    (folder / "map.tif").write_bytes(content)
    assert Results(store).put(run, folder)["map.tif"]["sha256"] == hashlib.sha256(content).hexdigest()


def test_gdal_opens_what_was_put_into_a_folder(engine: Engine, run: Job, made: Path, tmp_path: Path):
    results = Results(bucket(tmp_path / "store", make=True))
    job = published(engine, run, results.put(run, made))
    assert Path(results.local_or_vsi(job, "map.tif")).read_bytes() == FILES["map.tif"]


def test_gdal_opens_what_was_put_into_s3(engine: Engine, run: Job, made: Path, s3_url: str):
    where = {"transform": Affine(10, 0, 300_000, 0, -10, 8_000_000), "crs": "EPSG:32736", "width": 3, "height": 2}
    with rasterio.open(made / "map.tif", "w", driver="GTiff", dtype="uint8", count=1, **where) as file:
        file.write(np.array([[[0, 1, 2], [3, 4, 5]]], "uint8"))
    for place in (s3_url, f"{s3_url}/below/this"):
        results = Results(bucket(place))
        manifest = results.put(run, made)
        path = results.local_or_vsi(replace(run, result={"files": manifest}), "map.tif")
        assert path.startswith(place.replace("s3://", "/vsis3/"))
        with rasterio.Env(**gdal_options()), rasterio.open(path) as file:
            assert file.read(1).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_log_of_an_attempt_outlives_its_files(store: Any, run: Job, made: Path, tmp_path: Path):
    results, log = Results(store), tmp_path / "attempt.txt"
    log.write_bytes(b"killed by signal 9\n")
    results.put(run, made)
    results.put_log(run, log)
    second = replace(run, attempt=2)
    results.put(second, made)
    results.remove(run.id, run.attempt)
    results.remove(run.id, run.attempt)  # again is no harm
    assert keys(store) == sorted([f"results/{run.id}/1/log.txt", *(f"results/{run.id}/2/{name}" for name in FILES)])
    assert results.log(run, 1) == b"killed by signal 9\n"
    with pytest.raises(StoreError, match="no such object"):
        results.log(run, 2)


def test_the_first_attempt_is_not_the_tenth(store: Any, run: Job, made: Path):
    results = Results(store)
    results.put(replace(run, attempt=10), made)
    results.remove(run.id, 1)
    assert len(keys(store)) == len(FILES)


def test_what_was_not_published_is_not_there(store: Any, engine: Engine, run: Job, made: Path):
    results = Results(store)
    manifest = results.put(run, made)
    with pytest.raises(StoreError, match="this one is running"):
        results.entry(run, "map.tif")
    job = published(engine, run, manifest)
    for name in ("no.tif", "../1/map.tif", "", "/etc/passwd", "map.tif/"):
        for ask in (results.entry, results.read, results.open, results.local_or_vsi):
            with pytest.raises(StoreError, match="no such file"):
                ask(job, name)


@pytest.mark.parametrize("id", ["..", "", "a" * 31, "A" * 32, "../" * 10 + "ab", "0" * 32 + "/.."])
def test_no_id_leads_out_of_the_results(store: Any, run: Job, made: Path, id: str):
    results = Results(store)
    obstore.put(store, "precious.txt", b"kept")
    for ask in (
        lambda: results.put(replace(run, id=id), made),
        lambda: results.log(replace(run, id=id), 1),
        lambda: results.remove(id, 1),
    ):
        with pytest.raises(StoreError, match="no plain name, or no id"):
            ask()
    assert keys(store) == ["precious.txt"]


@pytest.mark.parametrize("name", ["a b.tif", "ключ.tif", "a" * 200, "-rf"])
def test_a_file_whose_name_is_not_plain_is_refused(store: Any, run: Job, tmp_path: Path, name: str):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / name).write_bytes(b"x")
    with pytest.raises(StoreError, match="no plain name"):
        Results(store).put(run, folder)


def test_a_folder_within_the_folder_is_refused(store: Any, run: Job, made: Path):
    (made / "below").mkdir()
    with pytest.raises(StoreError):
        Results(store).put(run, made)


def test_a_file_that_has_changed_since_is_not_read(store: Any, engine: Engine, run: Job, made: Path):
    results = Results(store)
    job = published(engine, run, results.put(run, made))
    obstore.put(store, results.entry(job, "map.json")["key"], b'{"type": "Another"}\n')
    with pytest.raises(StoreError, match="another checksum"):
        results.read(job, "map.json")
    obstore.delete(store, results.entry(job, "map.json")["key"])
    for ask in (results.read, results.open):
        with pytest.raises(StoreError, match="no such object"):
            ask(job, "map.json")


# --- a store that cannot be trusted ----------------------------------------------------------------------------------


@pytest.fixture
def faulty(s3_url: str, s3_server: swift_s3.Server) -> Iterator[tuple[Results, lossy_s3.Proxy]]:
    "Results in S3, behind a proxy."
    with lossy_s3.proxy(s3_server.endpoint) as proxy:
        place = {"endpoint": proxy.url, "client_options": {"allow_http": True}, "retry_config": {"max_retries": 1}}
        yield Results(S3Store(s3_url.removeprefix("s3://"), **place)), proxy


@pytest.mark.parametrize("fault", ["forget", "alter", "cut"])
def test_a_store_that_loses_or_alters_never_gives_a_manifest(faulty: tuple, run: Job, made: Path, fault: str):
    results, proxy = faulty
    proxy.fault, proxy.key = fault, "map.tif"
    with pytest.raises(StoreError, match=f"results/{run.id}/1/map.tif"):
        results.put(run, made)


@pytest.mark.parametrize("fault", ["alter", "cut"])
def test_a_store_that_errs_once_is_asked_again(faulty: tuple, run: Job, made: Path, fault: str):
    results, proxy = faulty
    proxy.fault, proxy.key, proxy.times = fault, "map.tif", 1
    assert results.put(run, made)["map.tif"]["size"] == len(FILES["map.tif"])
    assert proxy.times == 0


def test_a_store_that_refuses_says_so(faulty: tuple, run: Job, made: Path):
    results, proxy = faulty
    proxy.fault = "refuse"
    with pytest.raises(StoreError, match="503"):
        results.put(run, made)


def test_keys_that_are_wrong_are_refused(s3_url: str, run: Job, made: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError, match="Object results/"):
        Results(bucket(s3_url)).put(run, made)
