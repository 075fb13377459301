"Looks for jobs that were left lying, and calls workers: a queue that forgets everything loses nothing."

import logging
import threading

from serving.jobs import jobs, queue
from serving.jobs.errors import DatabaseUnavailable

from .service import Service

log = logging.getLogger(__name__)


class Reconciler(threading.Thread):
    "A thread that reconciles every `reconcile_s`, whatever happens to the database in between."

    def __init__(self, here: Service):
        super().__init__(name="reconciler", daemon=True)
        self._here, self._ended = here, threading.Event()

    def run(self) -> None:
        "Until `stop`."
        while not self._ended.wait(self._here.limits.reconcile_s):
            try:
                self._look()
                self._here.metrics.reconciled.set_to_current_time()
            except DatabaseUnavailable as error:
                self._here.metrics.reconciler_errors.inc()
                log.warning("%s", error)
            except Exception:  # a thread that is gone would be missed by nobody, and then by everybody
                self._here.metrics.reconciler_errors.inc()
                log.exception("the reconciler goes on")

    def _look(self) -> None:
        found = jobs.reconcile(self._here.engine, self._here.limits)
        if found.retried or found.failed:
            log.warning("lost workers: %d jobs again, %d given up", len(found.retried), len(found.failed))
        queue.wake(self._here.redis_url, found.wake)

    def stop(self) -> None:
        "End it, within a time-out or two."
        self._ended.set()
        self.join(timeout=10)
