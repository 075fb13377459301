"Calls workers beside the requests: a Redis that is slow, hangs or is away delays nobody who asks for a map."

import threading
from collections import deque

from serving.jobs import queue

PAUSE_S = 0.01  # between two calls: what was accepted meanwhile is called for together


class Caller(threading.Thread):
    "A thread that calls workers for new jobs. What it leaves out, the reconciler calls for."

    def __init__(self, redis_url: str):
        super().__init__(name="caller", daemon=True)
        self._url = redis_url
        self._new: deque[str] = deque(maxlen=queue.ENOUGH)  # more calls would add nothing
        self._any, self._ended = threading.Event(), threading.Event()

    def call(self, job_id: str) -> None:
        "Somebody shall be called for a job. Never waits."
        self._new.append(job_id)
        self._any.set()

    def run(self) -> None:
        "Until `stop`; what came before it is called for."
        while not self._ended.wait(PAUSE_S):
            self._any.wait()
            self._any.clear()
            self._call()
        self._call()

    def _call(self) -> None:
        if new := [self._new.popleft() for _ in range(len(self._new))]:
            queue.wake(self._url, new)

    def stop(self) -> None:
        "End it, within a time-out or two."
        self._ended.set()
        self._any.set()
        self.join(timeout=10)
