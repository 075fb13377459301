"A call to workers that there is something to do. It may be lost: the row in the database is the truth."

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer

log = logging.getLogger(__name__)
QUEUE = "geocrop"
CALL = "serving.worker.wake.run"  # what a worker is to do, with the job's id
CONNECT_S, ANSWER_S = 0.5, 1.0  # nobody waits longer for a server that is away
ENOUGH = 64  # calls that wait; whoever hears one works until nothing is left, so that more would add nothing
LIFE: dict[str, Any] = {  # of a call; one that nobody heard in an hour is dropped: the reconciler calls again
    "timeout": -1, "result_ttl": 0, "ttl": 3600, "failure_ttl": 0,
}  # fmt: skip


def wake(
    redis_url: str,  # redis://...; empty: there is nobody to call, workers look into the database
    job_ids: Sequence[str],
) -> bool:  # Whether calls are on their way
    "Call a worker for each of some jobs, at once. A server that is away is no error."
    if not redis_url:
        return False
    try:
        calls = queue(redis_url)
        if wanted := job_ids[: max(0, ENOUGH - calls.count)]:
            calls.enqueue_many([Queue.prepare_data(CALL, (id,), **LIFE) for id in wanted])
    except (RedisError, OSError) as error:
        log.warning("nobody was called for %d jobs (%s: %s)", len(job_ids), type(error).__name__, error)
        return False
    return True


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
