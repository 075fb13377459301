"Objects of a store whose word is not taken for it: what was written is read again, and must be the same."

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import obstore
from obstore.store import LocalStore, S3Store

from geocrop.schema import StoreError

log = logging.getLogger(__name__)
TRIES = 3  # how often something is written before the store is given up


@contextmanager
def failing(thing: str) -> Iterator[None]:
    "What a store raises, in our words."
    try:
        yield
    except (obstore.exceptions.BaseError, OSError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise StoreError(
            thing,
            found="no such object" if missing else f"{type(error).__name__}: {' '.join(str(error).split())[:500]}",
            expected="an object" if missing else "a store that reads and writes",
            remedy="Check the store, its address and its keys.",
        ) from error


def gdal_path(
    store: Any,  # Of geocrop.store.bucket
    key: str,  # Made by the service, never by a user
) -> str:  # A path, or /vsis3/BUCKET/KEY
    "An object as GDAL opens it, with the options of geocrop.store.gdal_options."
    if isinstance(store, S3Store):
        return "/".join(["/vsis3", store.config["bucket"], *filter(None, [store.prefix]), key])
    return str(Path(store.prefix, key))


def get_bytes(store: Any, key: str) -> bytes:
    "A small object. StoreError where it is not there or cannot be read."
    with failing(f"Object {key}"):
        return bytes(obstore.get(store, key).bytes())


def put_verified(
    store: Any,
    key: str,
    content: Path | bytes,  # A file, or a small object
) -> tuple[str, int]:  # sha256 of what lies in the store, and its bytes
    """Write an object and read it again: from here on it outlives a loss of power, as a server's objects do.

    StoreError where it is not what was written, three times over.
    """
    with failing(f"Object {key}"):
        wanted = _sha256(content)
    for attempt in range(TRIES):
        with failing(f"Object {key}"):
            obstore.put(store, key, content)
            if isinstance(store, LocalStore):
                _settle(Path(store.prefix or "/"), key)
            found = _stored(store, key)
        if found == wanted:
            return found
        log.warning("object %s: found %s, expected %s (%d of %d)", key, found, wanted, attempt + 1, TRIES)
    raise StoreError(
        f"Object {key}",
        found=f"{found[1]} bytes, sha256 {found[0][:12]}... after it was written",
        expected=f"{wanted[1]} bytes, sha256 {wanted[0][:12]}...",
        remedy="The store loses or alters data: check its discs and what stands between.",
    )


def _settle(root: Path, key: str) -> None:
    "Wait until a file, and each folder that leads to it, is on the disc."
    path = root / key
    for place in (path, *(folder for folder in path.parents if folder.is_relative_to(root))):
        fd = os.open(place, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _sha256(content: Path | bytes) -> tuple[str, int]:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest(), len(content)
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), content.stat().st_size


def _stored(store: Any, key: str) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for chunk in obstore.get(store, key).stream():
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size
