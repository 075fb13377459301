"A call to workers that there is something to do. It may be lost: the row in the database is the truth."

import logging
from collections.abc import Iterable
from functools import lru_cache

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer

log = logging.getLogger(__name__)
QUEUE = "geocrop"
CALL = "serving.worker.wake.run"  # what a worker is to do, with the job's id
CONNECT_S, ANSWER_S = 0.5, 1.0  # a submission waits no longer for a server that is away
ENOUGH = 64  # calls that wait; whoever hears one works until nothing is left, so that more would add nothing
TTL_S = 3600  # a call that nobody heard is dropped: the reconciler calls again


def wake(
    redis_url: str,  # redis://...; empty: there is nobody to call, workers look into the database
    job_id: str,
) -> bool:  # Whether a call is on its way
    "Call a worker. A server that is away is no error."
    if not redis_url:
        return False
    try:
        calls = queue(redis_url)
        if calls.count < ENOUGH:
            calls.enqueue_call(CALL, args=(job_id,), timeout=-1, result_ttl=0, ttl=TTL_S, failure_ttl=0)
    except (RedisError, OSError) as error:
        log.warning("job %s: nobody was called (%s: %s); the reconciler will", job_id, type(error).__name__, error)
        return False
    return True


def wake_all(
    redis_url: str,
    job_ids: Iterable[str],
) -> None:
    "Call workers for several jobs. Where one call fails the others would, each with its time-out: they are left out."
    all(wake(redis_url, job_id) for job_id in job_ids)


@lru_cache(maxsize=8)
def queue(redis_url: str) -> Queue:
    "The queue on a server, with JSON and no pickle, and little patience."
    connection = Redis.from_url(
        redis_url, socket_connect_timeout=CONNECT_S, socket_timeout=ANSWER_S, retry=Retry(NoBackoff(), 0)
    )
    return Queue(QUEUE, connection=connection, serializer=JSONSerializer)


def alive(redis_url: str) -> bool:
    "Whether the server answers; an empty address has none."
    try:
        return bool(redis_url) and bool(queue(redis_url).connection.ping())
    except (RedisError, OSError):
        return False
