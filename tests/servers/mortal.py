"""A process that makes a map and dies at a chosen moment."""

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from geocrop.mapping import map_area

WATCHED = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir")  # audit events, raised before the deed


@dataclass(frozen=True)
class Moment:
    "When to die: so many deeds with files after a certain one, and so many seconds after that."

    anchor: tuple[str, str] | None = None  # Audit event and name of the file; None is the beginning
    after: int = 0
    delay_s: float = 0.0


def _live(
    root: str,  # Deeds with files below this folder count
    how: dict[str, Any],  # Arguments of map_area
    moment: Moment | None,
    wire: Connection,
) -> None:
    deeds: list[tuple[str, str, float]] = []
    left = moment.after if moment and moment.anchor is None else None

    def watch(event: str, args: tuple) -> None:
        nonlocal left
        if event not in WATCHED:
            return
        name = args[1] if event == "os.rename" else args[0]
        if not isinstance(name, str | Path) or not str(name).startswith(root):
            return
        name = os.path.basename(name)
        deeds.append((event, name, time.monotonic()))
        if moment is None:
            return
        if left is None and (event, name) == moment.anchor:
            left = moment.after
        if left == 0:
            if not moment.delay_s:
                os.kill(os.getpid(), signal.SIGKILL)
            wire.send("now")
        left = left if left is None else left - 1

    sys.addaudithook(watch)
    map_area(**how)
    wire.send(deeds)


SPAWN = multiprocessing.get_context("forkserver")  # its children have the imports done
SPAWN.set_forkserver_preload(["geocrop.mapping", "xgboost", "lightgbm", "catboost"])


def begin(root: Path, how: dict[str, Any], moment: Moment | None = None) -> tuple[Any, Connection]:
    "The process, and where it says what it did."
    ours, theirs = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_live, args=(str(root), how, moment, theirs))
    process.start()
    theirs.close()
    return process, ours


def die(root: Path, how: dict[str, Any], moment: Moment) -> bool:
    "Whether it was killed; False where it came to its end before."
    process, wire = begin(root, how, moment)
    try:
        if wire.recv() == "now":
            time.sleep(moment.delay_s)
            process.kill()
    except EOFError:  # by its own hand
        pass
    process.join()
    return process.exitcode == -signal.SIGKILL


def deeds(root: Path, how: dict[str, Any]) -> list[tuple[str, str, float]]:
    "What an undisturbed one does: audit event, name of the file, seconds."
    process, wire = begin(root, how)
    found = wire.recv()
    process.join()
    return found
