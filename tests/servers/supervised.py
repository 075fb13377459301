"Programs that are started again when they end, as Kubernetes would, and servers that can be switched off and on."

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil

from serving.worker import process

GUARD = (sys.executable, "-ES", process.__file__)  # a program ends with us, also where we are killed
PAUSE_S = 0.1  # before a program is started again


class Program:
    "A program that runs as long as it is wanted, in a session of its own. A context: it is killed at its end."

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path,  # What it says is added here
        *,
        fds: Sequence[int] = (),  # File descriptors that it inherits
    ):
        self.command, self.env, self.log, self.fds = command, env, log, fds
        self.starts = 0
        self._wanted, self._changed = False, threading.Condition()
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> "Program":
        self._wanted = True
        self._start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)

    def _start(self) -> None:
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [*GUARD, str(os.getpid()), *self.command],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=self.fds,
                start_new_session=True,
            )
        self.starts += 1

    def _keep(self) -> None:
        while True:
            self._process.wait()
            with self._changed:
                if not self._wanted:
                    return
            time.sleep(PAUSE_S)
            with self._changed:
                if not self._wanted:
                    return
                self._start()

    @property
    def pid(self) -> int:
        "Of the process that runs now, or ran last."
        return self._process.pid

    def children(self) -> list[int]:
        "Processes that it has started."
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(self.pid).children()]
        return []

    def send(self, number: signal.Signals) -> None:
        "A signal, which it may not survive: then it is started again."
        self._process.send_signal(number)

    def let_go(self, by: signal.Signals = signal.SIGTERM) -> None:
        "Tell it to end; it is not started again."
        with self._changed:
            self._wanted = False
        self._process.send_signal(by)

    def stop(
        self,
        by: signal.Signals = signal.SIGTERM,
        patience_s: float = 60,  # It is killed after that
    ) -> int:  # Its exit code, negative: the signal that ended it
        "Tell it to end, and wait until it has."
        self.let_go(by)
        return self.end(patience_s)

    def end(
        self,
        patience_s: float = 60,  # It is killed after that
    ) -> int:  # Its exit code, negative: the signal that ended it
        "Wait until it has ended, as it was told."
        try:
            return self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            with contextlib.suppress(ProcessLookupError):  # and what it left behind
                os.killpg(self.pid, signal.SIGKILL)
            self._keeper.join()


class Switch:
    "A server that can be switched off and on. A context: it is on at the beginning, off at the end."

    def __init__(
        self,
        start: Callable[[], AbstractContextManager[Any]],  # Starts a server at the same address each time
    ):
        self._start, self._running = start, contextlib.ExitStack()

    def on(self) -> None:
        "Back when it answers."
        self._running.enter_context(self._start())

    def off(self) -> None:
        "Back when it is gone."
        self._running.close()

    def __enter__(self) -> "Switch":
        self.on()
        return self

    def __exit__(self, *_: object) -> None:
        self.off()
