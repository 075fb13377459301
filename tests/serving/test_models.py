"Bundles in a folder and in S3: a version never changes, the champion is always whole, a cache is made once."

import hashlib
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pytest
import rush
from pipeline import made

from geocrop.bundle import bundle_sha256, write_bundle
from geocrop.schema import StoreError
from geocrop.store import sha256
from serving.jobs import models
from serving.jobs.models import Model

NAME = "zimbabwe_embedded"


def bundle(folder: Path, trees: bytes) -> Path:
    write_bundle(folder, {"features": ["ndvi"]}, {"trees.bin": trees, "infer.py": b"print()\n"})
    return folder


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return bundle(tmp_path / "first", b"one" * 1000)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return bundle(tmp_path / "second", b"two" * 1000)


def test_a_bundle_is_published_pointed_to_and_fetched(store: Any, first: Path, second: Path, tmp_path: Path):
    model = models.put(store, first, NAME, "1")
    assert model == Model(NAME, "1", bundle_sha256(first))
    with pytest.raises(StoreError, match="no such object"):
        models.champion(store, NAME)  # published is not yet pointed to
    models.point(store, model)
    assert models.champion(store, NAME) == model
    cache = tmp_path / "cache"
    folder = models.fetch(store, model, cache)
    assert bundle_sha256(folder) == model.sha256  # as the worker reads it, each file verified
    better = models.put(store, second, NAME, "2")
    models.point(store, better)
    assert models.champion(store, NAME) == better
    assert bundle_sha256(models.fetch(store, better, cache)) == better.sha256
    assert bundle_sha256(models.fetch(store, model, cache)) == model.sha256  # an old job finishes on its own


def test_the_bundle_of_the_embedded_season_makes_the_way(store: Any, tmp_path: Path):
    model = models.put(store, made("model"), NAME, "1")
    models.point(store, model)
    assert bundle_sha256(models.fetch(store, models.champion(store, NAME), tmp_path / "cache")) == model.sha256


def test_a_version_never_changes(store: Any, first: Path, second: Path):
    model = models.put(store, first, NAME, "1")
    assert models.put(store, first, NAME, "1") == model
    with pytest.raises(StoreError, match="another bundle of this version"):
        models.put(store, second, NAME, "1")


def test_a_bundle_that_is_not_what_it_says_is_not_published(store: Any, first: Path):
    (first / "trees.bin").write_bytes(b"others")
    with pytest.raises(StoreError, match=r"trees\.bin"):
        models.put(store, first, NAME, "1")
    with pytest.raises(StoreError):
        models.point(store, Model(NAME, "1", sha256(first / "bundle.json")))


@pytest.mark.parametrize("damage", [b"others", None], ids=["altered", "gone"])
@pytest.mark.parametrize("file", ["trees.bin", "bundle.json"])
def test_nobody_points_to_or_fetches_a_damaged_bundle(
    store: Any, first: Path, second: Path, tmp_path: Path, file: str, damage: bytes | None
):
    good, bad = models.put(store, first, NAME, "1"), models.put(store, second, NAME, "2")
    models.point(store, good)
    key = f"{NAME}/2/{file}"
    if damage is None:
        obstore.delete(store, key)
    else:
        obstore.put(store, key, damage)
    with pytest.raises(StoreError):
        models.point(store, bad)
    assert models.champion(store, NAME) == good
    with pytest.raises(StoreError):
        models.fetch(store, bad, tmp_path / "cache")
    assert not (tmp_path / "cache" / bad.sha256).exists()


def test_another_bundle_under_the_same_version_is_not_taken_for_the_model(store: Any, first: Path, tmp_path: Path):
    model = models.put(store, first, NAME, "1")
    with pytest.raises(StoreError):
        models.fetch(store, replace(model, sha256="0" * 64), tmp_path / "cache")


@pytest.mark.parametrize("page", [b"", b"[]", b"{}", b'{"version": "../..", "sha256": "0"}', b'{"version": 1}'])
def test_a_pointer_that_is_none_is_refused(store: Any, page: bytes):
    obstore.put(store, f"{NAME}/champion.json", page)
    with pytest.raises(StoreError):
        models.champion(store, NAME)


@pytest.mark.parametrize("name", ["..", "", "a/b", "../a", "a" * 200, ".hidden"])
def test_no_name_leads_out_of_the_models(store: Any, first: Path, tmp_path: Path, name: str):
    for ask in (
        lambda: models.put(store, first, name, "1"),
        lambda: models.put(store, first, NAME, name),
        lambda: models.champion(store, name),
        lambda: models.fetch(store, Model(name, "1", "0" * 64), tmp_path),
        lambda: models.fetch(store, Model(NAME, "1", name), tmp_path),
    ):
        with pytest.raises(StoreError):
            ask()


@pytest.mark.parametrize("file", ["../escaped", "a/b", "", ".x"])
def test_a_bundle_whose_page_names_other_places_is_refused(store: Any, tmp_path: Path, file: str):
    page = json.dumps({"files": {file: "0" * 64}}).encode()
    obstore.put(store, f"{NAME}/1/bundle.json", page)
    with pytest.raises(StoreError, match=r"bundle\.json"):
        models.fetch(store, Model(NAME, "1", hashlib.sha256(page).hexdigest()), tmp_path / "cache")


@pytest.mark.parametrize("damage", ["altered", "gone"])
def test_a_damaged_cache_is_made_anew(store: Any, first: Path, tmp_path: Path, damage: str):
    model = models.put(store, first, NAME, "1")
    folder = models.fetch(store, model, tmp_path / "cache")
    if damage == "gone":
        (folder / "trees.bin").unlink()
    else:
        (folder / "trees.bin").write_bytes(b"others")
    assert models.fetch(store, model, tmp_path / "cache") == folder
    assert bundle_sha256(folder) == model.sha256


def test_eight_who_fetch_at_once_read_the_store_once(store: Any, first: Path, tmp_path: Path, monkeypatch):
    model, asked, real = models.put(store, first, NAME, "1"), [], models.get_bytes
    monkeypatch.setattr(models, "get_bytes", lambda store, key: (asked.append(key), real(store, key))[1])
    folders = rush.threads(8, lambda _: models.fetch(store, model, tmp_path / "cache"))
    assert set(folders) == {tmp_path / "cache" / model.sha256}
    assert sorted(asked) == [f"{NAME}/1/{name}" for name in ("bundle.json", "infer.py", "trees.bin")]
    assert bundle_sha256(folders[0]) == model.sha256


def test_whoever_asks_meanwhile_always_finds_a_champion(store: Any, first: Path, second: Path):
    both = [models.put(store, folder, NAME, version) for folder, version in ((first, "1"), (second, "2"))]
    models.point(store, both[0])
    over, seen = threading.Event(), []

    def ask(_: int) -> None:
        while not over.is_set():
            seen.append(models.champion(store, NAME))

    def move(_: int) -> None:
        for turn in range(10):
            models.point(store, both[turn % 2])
        over.set()

    answers = rush.threads(3, lambda index: move(index) if index == 0 else ask(index))
    over.set()
    assert answers == [None] * 3
    assert set(seen) <= set(both)
