"What jobs made, in the store: `results/<job>/<attempt>/<name>`, each object read again before anybody hears of it."

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore

from geocrop.schema import StoreError

from . import jobs
from .jobs import Job
from .objects import failing, gdal_path, get_bytes, put_verified

LOG = "log.txt"  # of an attempt, also of one that came to nothing
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
        manifest = {}
        for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
            key = _key(job.id, job.attempt, path.name)
            sha256, size = put_verified(self.store, key, path)
            manifest[path.name] = {"sha256": sha256, "size": size, "key": key}
        return manifest

    def put_log(
        self,
        job: Job,
        path: Path,
    ) -> None:
        "Keep the log of an attempt, whatever came of it."
        put_verified(self.store, _key(job.id, job.attempt, LOG), path)

    def log(
        self,
        job: Job,
        attempt: int,
    ) -> bytes:
        "What an attempt said. StoreError where no log was kept."
        return get_bytes(self.store, _key(job.id, attempt, LOG))

    def entry(
        self,
        job: Job,
        name: str,
    ) -> dict[str, Any]:  # sha256, size (bytes), key
        "A file as it was published. StoreError where the job has none of this name."
        files = (job.result or {}).get("files", {})
        if name not in files:
            raise StoreError(
                f"File {name[:100]!r} of job {job.id}",
                found="no such file",
                expected=", ".join(files) or f"a successful job; this one is {job.status}",
                remedy="See the results of the job.",
            )
        return files[name]

    def open(
        self,
        job: Job,
        name: str,
        *,
        start: int = 0,  # First byte
        end: int | None = None,  # Behind the last byte; None: to the end
    ) -> Iterator[bytes]:  # In pieces
        "A published file, or a part of it. StoreError, before the first piece, where it is not there."
        entry = self.entry(job, name)
        key, end = entry["key"], entry["size"] if end is None else min(end, entry["size"])
        if start >= end:  # no server answers for no bytes
            return iter(())
        with failing(f"Object {key}"):
            pieces = obstore.get(self.store, key, options={"range": (start, end)}).stream()
        return _pieces(pieces, key)

    def read(
        self,
        job: Job,
        name: str,
    ) -> bytes:
        "A small published file, whole and verified."
        entry = self.entry(job, name)
        content = get_bytes(self.store, entry["key"])
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise StoreError(
                f"Object {entry['key']}",
                found="another checksum than when it was published",
                expected=f"sha256 {entry['sha256'][:12]}...",
                remedy="The store has changed it: ask for the map again.",
            )
        return content

    def local_or_vsi(
        self,
        job: Job,
        name: str,
    ) -> str:  # A path, or /vsis3/BUCKET/KEY
        "A published file as GDAL opens it."
        return gdal_path(self.store, self.entry(job, name)["key"])

    def remove(
        self,
        job_id: str,
        attempt: int,
    ) -> None:
        "Forget the files of an attempt that came to nothing; its log stays."
        prefix, log = _key(job_id, attempt, ""), _key(job_id, attempt, LOG)
        with failing(f"Objects {prefix}"):
            for page in obstore.list(self.store, prefix):
                if paths := [entry["path"] for entry in page if entry["path"] != log]:
                    obstore.delete(self.store, paths)


def _key(job_id: str, attempt: int, name: str) -> str:
    "Made of ids that we gave and of plain names: it leads nowhere else."
    if not (jobs.known(job_id) and isinstance(attempt, int) and (not name or NAME.fullmatch(name))):
        raise StoreError(
            f"Key of {name[:100]!r}, job {job_id[:40]!r}",
            found="a name that is no plain name, or no id of a job",
            expected="letters, digits, dots, dashes and underscores",
            remedy="Correct it.",
        )
    return f"results/{job_id}/{attempt}/{name}"


def _pieces(pieces: Iterator[Any], key: str) -> Iterator[bytes]:
    with failing(f"Object {key}"):
        for piece in pieces:
            yield bytes(piece)
