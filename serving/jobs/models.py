"""The models of the store: bundles as `<name>/<version>/`, and which one of them is the champion.

A version never changes. The champion is a small object, `<name>/champion.json`, that is moved when its bundle is whole.
"""

import fcntl
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore

from geocrop.schema import StoreError
from geocrop.store import publish, sha256

from .objects import get_bytes, put_verified

PAGE = "bundle.json"  # of geocrop.bundle: holds the checksums of all other files of its folder
POINTER = "champion.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")  # one part of a key, never a way out of it


@dataclass(frozen=True, slots=True)
class Model:
    "A model that jobs can be made with."

    name: str
    version: str
    sha256: str  # Of its bundle.json, which holds those of all other files


def put(
    store: Any,  # Of geocrop.store.bucket
    folder: Path,  # A bundle that geocrop.bundle wrote
    name: str,
    version: str,
) -> Model:
    "Publish a bundle under a version; StoreError where the version is there already with another bundle."
    where, page = _place(name, version), (folder / PAGE).read_bytes()
    model = Model(name, version, hashlib.sha256(page).hexdigest())
    if (there := _page(store, where)) not in (None, page):
        raise StoreError(
            f"Model {name}/{version}",
            found="another bundle of this version",
            expected="a new version, or the same bundle",
            remedy="Choose the next version.",
        )
    if there is None:
        for file, stated in _files(page, where).items():
            if put_verified(store, f"{where}/{file}", folder / file)[0] != stated:
                raise _damaged(f"{folder.name}/{file}")
        put_verified(store, f"{where}/{PAGE}", page)  # last: where it is, the bundle is whole
    return model


def point(store: Any, model: Model) -> None:
    "Make a model the champion: all at once, and only where its bundle lies whole in the store."
    where = _place(model.name, model.version)
    for _name, _content in _verified(store, model):
        pass
    page = {"version": model.version, "sha256": model.sha256}
    put_verified(store, f"{where.rpartition('/')[0]}/{POINTER}", (json.dumps(page) + "\n").encode())


def champion(
    store: Any,
    name: str,
) -> Model:
    "The model that new jobs are made with. StoreError where there is none."
    key = f"{_part(name, 'Name')}/{POINTER}"
    try:
        page = json.loads(get_bytes(store, key))
        return Model(name, _part(page["version"], "Version"), str(page["sha256"]))
    except (ValueError, KeyError, TypeError):
        raise StoreError(
            f"Object {key}",
            found="something else",
            expected="JSON with version and sha256",
            remedy="Point to the champion again.",
        ) from None


def fetch(
    store: Any,
    model: Model,
    cache: Path,  # Folder of this machine; bundles lie there by their sha256, made once
) -> Path:  # Folder of the bundle, each file verified when it came
    "A model's bundle on this machine. Several processes may ask at once."
    if not re.fullmatch(r"[0-9a-f]{64}", model.sha256):
        raise _damaged(f"{model.name}/{model.version}")
    folder = cache / model.sha256
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{model.sha256}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # publish takes one writer; who waited finds the bundle there
        if not _whole(folder, model.sha256):
            with publish(folder) as new:
                new.mkdir()
                for name, content in _verified(store, model):
                    (new / name).write_bytes(content)
    return folder


def _whole(folder: Path, identity: str) -> bool:
    "Whether a bundle of this machine is still what it was when it came."
    try:
        page = (folder / PAGE).read_bytes()
        files = {**_files(page, str(folder)), PAGE: identity}
        return all(sha256(folder / name) == stated for name, stated in files.items())
    except (OSError, StoreError):
        return False


def _verified(store: Any, model: Model) -> Iterator[tuple[str, bytes]]:
    "Name and content of each file of a bundle as it lies in the store, found right; its page comes last."
    where = _place(model.name, model.version)
    page = get_bytes(store, f"{where}/{PAGE}")
    for name, stated in {**_files(page, where), PAGE: model.sha256}.items():
        content = page if name == PAGE else get_bytes(store, f"{where}/{name}")
        if hashlib.sha256(content).hexdigest() != stated:
            raise _damaged(f"{where}/{name}")
        yield name, content


def _files(page: bytes, where: str) -> dict[str, str]:
    "Names and checksums that a bundle's page states."
    try:
        files = json.loads(page)["files"]
        if all(NAME.fullmatch(name) and name != PAGE for name in files):
            return dict(files)
    except (ValueError, KeyError, TypeError):
        pass
    raise _damaged(f"{where}/{PAGE}")


def _page(store: Any, where: str) -> bytes | None:
    try:
        return bytes(obstore.get(store, f"{where}/{PAGE}").bytes())
    except FileNotFoundError:
        return None


def _place(name: str, version: str) -> str:
    return f"{_part(name, 'Name')}/{_part(version, 'Version')}"


def _part(text: str, what: str) -> str:
    if not (isinstance(text, str) and NAME.fullmatch(text)):
        raise StoreError(
            f"{what} of a model",
            found=repr(text)[:100],
            expected="letters, digits, dots, dashes and underscores",
            remedy="Choose another.",
        )
    return text


def _damaged(thing: str) -> StoreError:
    return StoreError(
        f"Bundle {thing}",
        found="something else than its page or its name says",
        expected="what geocrop.bundle wrote",
        remedy="Publish the bundle again, under the next version.",
    )
