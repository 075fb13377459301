"What jobs made, in the store: `results/<job>/<attempt>/<name>`, each object read again before anybody hears of it."

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore

from geocrop.schema import StoreError

from .jobs import Job
from .objects import failing, put_verified

LOG = "log.txt"  # of an attempt, also of one that came to nothing
ID = re.compile(r"[0-9a-f]{32}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Results:
    "Results of jobs in a store."

    def __init__(
        self,
        store: Any,  # Of geocrop.store.bucket
    ):
        self.store = store

    def put(
        self,
        job: Job,  # As it was claimed
        folder: Path,  # Plain files; hidden ones are left out
    ) -> dict[str, dict[str, Any]]:  # Name -> sha256, size (bytes), key
        "Keep the files of an attempt, each verified. StoreError where the store will not, or changes what it is given."
        raise NotImplementedError

    def put_log(
        self,
        job: Job,
        path: Path,
    ) -> None:
        "Keep the log of an attempt, whatever came of it."
        raise NotImplementedError

    def log(
        self,
        job: Job,
        attempt: int,
    ) -> bytes | None:  # None: no log was kept
        "What an attempt said."
        raise NotImplementedError

    def entry(
        self,
        job: Job,
        name: str,
    ) -> dict[str, Any]:  # sha256, size (bytes), key
        "A file as it was published. StoreError where the job has none of this name."
        raise NotImplementedError

    def open(
        self,
        job: Job,
        name: str,
        *,
        start: int = 0,  # First byte
        end: int | None = None,  # Behind the last byte; None: to the end
    ) -> Iterator[bytes]:  # In pieces
        "A published file, or a part of it. StoreError before the first piece where it is not there."
        raise NotImplementedError

    def read(
        self,
        job: Job,
        name: str,
    ) -> bytes:
        "A small published file, whole and verified."
        raise NotImplementedError

    def local_or_vsi(
        self,
        job: Job,
        name: str,
    ) -> str:  # A path, or /vsis3/BUCKET/KEY
        "A published file as GDAL opens it."
        raise NotImplementedError

    def remove(
        self,
        job_id: str,
        attempt: int,
    ) -> None:
        "Forget the files of an attempt that came to nothing; its log stays."
        raise NotImplementedError
