"""The models of the store: bundles as `<name>/<version>/`, and which one of them is the champion.

A version never changes. The champion is a small object, `<name>/champion.json`, that is moved when its bundle is whole.
"""

import fcntl
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore

from geocrop.schema import StoreError
from geocrop.store import publish

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
    raise NotImplementedError


def point(store: Any, model: Model) -> None:
    "Make a model the champion: all at once, and only where its bundle lies whole in the store."
    raise NotImplementedError


def champion(
    store: Any,
    name: str,
) -> Model:
    "The model that new jobs are made with. StoreError where there is none."
    raise NotImplementedError


def fetch(
    store: Any,
    model: Model,
    cache: Path,  # Folder of this machine; bundles lie there by their sha256, made once
) -> Path:  # Folder of the bundle, each file verified when it came
    "A model's bundle on this machine. Several processes may ask at once."
    raise NotImplementedError
