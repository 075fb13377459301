"A bundle becomes the champion of a store: the model that new jobs are made with."

import hashlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import obstore

from geocrop.bundle import PAGE, bundle_sha256
from geocrop.schema import ModelError
from geocrop.store import bucket
from serving.jobs import models
from serving.jobs.models import Model
from serving.jobs.objects import failing, get_bytes


def versions(
    store: Any,  # Of geocrop.store.bucket
    name: str,
) -> list[Model]:  # In order of their numbers; versions that are no numbers come first
    "The bundles of a model that a store has. StoreError."
    with failing(f"Model {name}"):
        folders = obstore.list_with_delimiter(store, f"{name}/")["common_prefixes"]
    found = [folder.rstrip("/").rpartition("/")[2] for folder in folders]
    ordered = sorted(found, key=lambda version: (_number(version), version))
    return [Model(name, version, _identity(store, f"{name}/{version}/{PAGE}")) for version in ordered]


def _identity(store: Any, key: str) -> str:
    return hashlib.sha256(get_bytes(store, key)).hexdigest()


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0


def known(where: str, name: str, identity: str) -> Model | None:
    "The version of a store that is this bundle; None where there is none."
    return next((model for model in versions(bucket(where, make=True), name) if model.sha256 == identity), None)


def follow(
    where: str,  # Store of models
    name: str,
    identity: str,  # sha256 of the bundle that is the champion of a registry
    own: Path,  # Folder that may hold it
    fetch: Callable[[Path], Path],  # Fetches it below a new folder; where the bundle is then
) -> Model:
    "Make a registry's champion the champion of a store. ModelError, StoreError."
    if model := known(where, name, identity):
        models.point(bucket(where), model)
        return model
    if (own / PAGE).is_file() and bundle_sha256(own) == identity:
        return release(where, own, name)
    with TemporaryDirectory(prefix="geocrop-bundle-") as folder:
        bundle = fetch(Path(folder) / "fetched")
        if (found := bundle_sha256(bundle)) != identity:
            raise ModelError(
                f"Model {name} of the registry",
                found=f"a bundle {found[:12]}...",
                expected=f"{identity[:12]}..., as its version says",
                remedy="Promote another version.",
            )
        return release(where, bundle, name)


def release(
    where: str,  # Store of models: a folder, or s3://bucket
    folder: Path,  # A bundle
    name: str,
) -> Model:
    "Make a bundle the champion: as the version that it has already, or as the next. ModelError, StoreError."
    store, identity = bucket(where, make=True), bundle_sha256(folder)
    there = versions(store, name)
    model = next((one for one in there if one.sha256 == identity), None)
    if model is None:
        model = models.put(store, folder, name, str(1 + max((_number(one.version) for one in there), default=0)))
    models.point(store, model)
    return model
