"What a server is asked now and then and tells at once, however long that server takes: metrics wait for nobody."

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Known = TypeVar("Known")
FIRST_S = 1.0  # how long somebody waits where there is no answer at all yet


class Remembered(Generic[Known]):
    "The last answer. One that is old is asked for anew, beside whoever wants to know."

    def __init__(
        self,
        ask: Callable[[], Known],  # Raises nothing
        otherwise: Known,  # Told before there is an answer
        fresh_s: float,  # How long an answer is good for
    ):
        self._ask, self._known, self._fresh_s = ask, otherwise, fresh_s
        self._asking, self._answered, self._due = threading.Lock(), threading.Event(), 0.0

    def __call__(self) -> Known:
        "What is known."
        if time.monotonic() >= self._due and self._asking.acquire(blocking=False):
            threading.Thread(target=self._refresh, name="remembered", daemon=True).start()
        self._answered.wait(FIRST_S)
        return self._known

    def _refresh(self) -> None:
        try:
            self._known = self._ask()
            self._due = time.monotonic() + self._fresh_s
            self._answered.set()
        finally:
            self._asking.release()
