"""A worker that waits for something to do: called through Redis, or by looking into the database.

A call says nothing but that there is work: which, the database knows. Whoever hears one works until nothing is left.
Without Redis, and while it is away, the worker looks into the database at short intervals, and now and then anyway.
"""

import logging
import threading
import time
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty

from geocrop import settings
from serving import tracing
from serving.jobs import database, jobs, queue
from serving.jobs.errors import DatabaseUnavailable

from .bell import Bell
from .tracker import Tracker
from .worker import Worker

log = logging.getLogger(__name__)
POLL_S = 0.5  # between two looks into the database, where nobody calls
AWAY_S = 2.0  # before Redis is tried again
TTL_S = 60  # RQ forgets a worker that it has not heard of for so long, and a minute more
BELL = Bell()  # of this process


def run(job_id: str) -> None:
    "What a call through Redis does: wake the worker of this process, and wait until it has nothing left to do."
    log.info("called for job %s", job_id)
    BELL.quiet.clear()
    BELL.ring()
    BELL.quiet.wait()


class Listener(threading.Thread):
    "Hears the calls of a Redis server, in a thread of its own, whenever that server is there."

    def __init__(self, url: str):
        super().__init__(name="listener", daemon=True)
        self.url, self.hearing = url, False

    def run(self) -> None:
        while not BELL.stopping:
            try:
                connection = Redis.from_url(self.url, socket_connect_timeout=AWAY_S, socket_keepalive=True)
                Ear(self, connection).work(logging_level="WARNING")
            except (RedisError, OSError) as error:
                log.warning("no calls, looking into the database: %s: %s", type(error).__name__, error)
            self.hears(False)
            time.sleep(AWAY_S)

    def hears(self, now: bool) -> None:
        "Whether the server answers, as of now."
        self.hearing, before = now, self.hearing
        if before and not now:
            BELL.ring()  # it has to look for itself from now on


class Ear(SimpleWorker):
    "RQ's worker, which executes nothing but `run`; signals are the main thread's."

    death_penalty_class = TimerDeathPenalty
    max_connection_wait_time = AWAY_S

    def __init__(self, listener: Listener, connection: Redis):
        self.listener = listener
        super().__init__([queue.QUEUE], connection=connection, serializer=JSONSerializer, worker_ttl=TTL_S)

    def _install_signal_handlers(self) -> None:
        pass

    def execute_job(self, job: Any, of: Any) -> None:
        if job.func_name == queue.CALL:
            super().execute_job(job, of)
        else:  # whoever can write into Redis shall not choose what runs here
            log.error("a call of %s is not answered", job.func_name)
            job.delete()

    def heartbeat(self, *args: Any, **how: Any) -> None:
        try:
            super().heartbeat(*args, **how)
        except (RedisError, OSError):
            self.listener.hears(False)
            raise
        self.listener.hears(True)


def serve() -> None:
    "Work until a signal says to stop: the first lets the job in hand come to its end, the second gives it back."
    limits, redis_url = settings.settings("jobs"), settings.settings("redis").url
    engine = database.connect(settings.settings("database").url)
    tracker = Tracker.of(settings.settings("mlflow"))
    tracing.begin("worker")
    with Worker(engine, settings.settings("store"), limits, bell=BELL, done=tracker.log) as worker:

        def leave() -> None:
            if BELL.hurry or worker.leash.warming:
                worker.leash.kill()

        BELL.stop_on_signals(leave)
        listener = Listener(redis_url)
        if redis_url:
            listener.start()
        log.info("%s waits for jobs", worker.name)
        looked = time.monotonic()
        while not BELL.stopping:
            try:
                if time.monotonic() - looked > limits.reconcile_s:
                    looked = time.monotonic()
                    queue.wake(redis_url, jobs.reconcile(engine, limits).wake)
                if worker.run_next():
                    continue
            except DatabaseUnavailable as error:
                log.warning("no work: %s", error)
            BELL.wait(limits.reconcile_s if listener.hearing else POLL_S)
    tracker.close()
    tracing.end()
    log.info("%s ends", worker.name)
