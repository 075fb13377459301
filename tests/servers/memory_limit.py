"A control group of Linux that holds processes to so much memory, as a container does. Needs root."

import contextlib
import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Group:
    "A control group; what is started by `command` belongs to it, and so does what that starts."

    folder: Path
    unified: bool  # Version 2

    def command(self, *words: str) -> list[str]:
        "A command that enters the group before it begins."
        enter = f"import os, sys; open({str(self.folder / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))"
        return [sys.executable, "-ESc", f"{enter}; os.execvp(sys.argv[1], sys.argv[1:])", *words]

    @property
    def killed(self) -> int:
        "How many of its processes were killed for want of memory."
        name, key = ("memory.events", "oom_kill") if self.unified else ("memory.oom_control", "oom_kill")
        rows = dict(line.split() for line in (self.folder / name).read_text().splitlines())
        return int(rows[key])


@contextlib.contextmanager
def limited(megabytes: int) -> Iterator[Group]:
    "A group of its own, whose processes have ended when the `with` does. A skip where none can be made."
    unified = (ROOT / "cgroup.controllers").is_file()
    folder = (ROOT if unified else ROOT / "memory") / f"geocrop-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
        (folder / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(megabytes << 20))
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no control group of memory: {error}; it takes root, and a writable {ROOT}")
    try:
        yield Group(folder, unified)
    finally:
        folder.rmdir()
