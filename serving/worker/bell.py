"""What wakes a worker that waits, and what tells it to stop.

The first SIGTERM or SIGINT drains: the job in hand is finished, no other is taken. The second gives it back. A signal
may come at any moment, also while a lock is held: handlers here set an attribute and write into a pipe, nothing else.
"""

import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType


class Bell:
    "Rung by any thread or signal, heard by one who waits."

    def __init__(self) -> None:
        self._hears, self._rings = os.pipe()
        for end in (self._hears, self._rings):
            os.set_blocking(end, False)
        self.stopping = False  # Take no other job
        self.hurry = False  # Give back the one in hand
        self.quiet = threading.Event()  # Set while somebody waits and nothing is to be done

    def ring(self) -> None:
        "Wake whoever waits, now or next."
        with suppress(BlockingIOError):  # it has been rung often enough
            os.write(self._rings, b"!")

    def wait(self, seconds: float) -> None:
        "Until it rings, or so long."
        self.quiet.set()
        select.select([self._hears], [], [], seconds)
        self.quiet.clear()
        with suppress(BlockingIOError):
            os.read(self._hears, 65536)

    def stop_on_signals(
        self,
        leave: Callable[[], None],  # Called at each signal; must take no lock
    ) -> None:
        "Listen to SIGTERM and SIGINT. For the main thread."

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.hurry = self.stopping
            self.stopping = True
            leave()
            self.ring()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)
