"A runner as its worker holds it: started when one is needed, asked, listened to, killed."

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

from .errors import AttemptError

COMMAND = (sys.executable, "-m", "serving.worker.runner")
WARM_S = 300.0  # until a runner must be ready; a machine that compiles everything anew takes 30
GOODBYE_S = 5.0  # for a runner without a job to end by itself


class Leash:
    "At most one runner at a time, in a session of its own. To be started from the main thread, killed from any."

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._wire, self._heard = -1, b""
        self.warming = False  # Whether a runner has been started that is not ready

    @property
    def pid(self) -> int | None:
        "Process id of the runner, None where there is none."
        return self._process.pid if self._process else None

    def start(self) -> None:
        "See that there is a runner, which need not be ready yet."
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self.warming, self._heard = True, b""
        self._wire, theirs = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*COMMAND, str(theirs), str(os.getpid())],
                stdin=subprocess.PIPE,
                pass_fds=[theirs],
                start_new_session=True,
            )
        finally:
            os.close(theirs)

    def ready(self) -> None:
        "See that there is a runner that can take a job. AttemptError where one cannot be had."
        self.start()
        if not self.warming:
            return
        if not select.select([self._wire], [], [], WARM_S)[0]:
            self.kill()
        ready = (self.hear() or {}).get("ready")
        self.warming = False
        if not ready:
            raise AttemptError(
                "Process that makes maps",
                found=f"none: {self.farewell()}",
                expected=f"one that is ready within {WARM_S:.0f} s",
                remedy="What it printed says why.",
            )

    def ask(self, task: dict[str, Any]) -> None:
        "Give it a job. A runner that has died meanwhile is noticed by whoever listens."
        assert self._process and self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(task).encode() + b"\n")
            self._process.stdin.flush()

    def hear(self) -> dict[str, Any] | None:  # None: it will say no more
        "What it says next."
        while b"\n" not in self._heard:
            more = os.read(self._wire, 65536)
            if not more:
                return None
            self._heard += more
        line, self._heard = self._heard.split(b"\n", 1)
        return json.loads(line)

    def kill(self) -> None:
        "End it at once, whatever it does; a stopped or hung process as well."
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def farewell(self) -> str:
        "How it ended, in words; it is waited for."
        assert self._process
        try:
            code = self._process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:  # it has closed its wire, and lives
            self.kill()
            code = self._process.wait()
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def close(self) -> None:
        "Let it end, or make it."
        if self._process is None:
            return
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self.farewell()
        os.close(self._wire)
        self._process = None
