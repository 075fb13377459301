"Calls to workers through a real Redis: JSON, bounded, and no harm where nobody listens."

import json
import socket
import sys
import time
import types
import zlib
from collections.abc import Iterator

import pytest
from loopback import free_ports
from redis import Redis
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from serving.jobs import queue


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    "Connections of one test are none of another's."
    queue.queue.cache_clear()
    yield


def test_a_worker_hears_the_call(redis_url: str, monkeypatch: pytest.MonkeyPatch):
    heard: list[str] = []
    monkeypatch.setitem(sys.modules, "listener", types.SimpleNamespace(hear=heard.append))
    monkeypatch.setattr(queue, "CALL", "listener.hear")
    assert queue.wake(redis_url, ["a" * 32])
    calls = queue.queue(redis_url)
    SimpleWorker([calls], connection=calls.connection, serializer=JSONSerializer).work(
        burst=True, logging_level="ERROR"
    )
    assert heard == ["a" * 32]
    assert calls.count == 0


def test_what_lies_in_redis_is_json(redis_url: str):
    queue.wake(redis_url, ["a" * 32])
    with Redis.from_url(redis_url) as client:
        [key] = client.keys("rq:job:*")
        data = zlib.decompress(client.hget(key, "data"))
    assert json.loads(data) == ["serving.worker.wake.run", None, ["a" * 32], {}]


def test_a_thousand_calls_are_no_more_than_enough(redis_url: str):
    for number in range(queue.ENOUGH + 40):
        assert queue.wake(redis_url, [f"{number:032x}"])
    assert queue.queue(redis_url).count == queue.ENOUGH
    with Redis.from_url(redis_url) as client:
        client.flushall()
    assert queue.wake(redis_url, ["a" * 32])  # a server that forgot everything is called anew
    assert queue.queue(redis_url).count == 1


def test_no_redis_no_call():
    assert not queue.wake("", ["a" * 32])
    assert not queue.alive("")


def test_a_redis_that_is_away_is_no_error():
    url = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    assert not queue.wake(url, ["a" * 32])
    assert not queue.alive(url)


def test_a_redis_that_is_silent_costs_a_moment():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        begin = time.monotonic()
        assert not queue.wake(url, ["a" * 32])
        assert time.monotonic() - begin < 10 * (queue.CONNECT_S + queue.ANSWER_S)


def test_a_redis_that_came_back_is_called_again(redis_url: str):
    assert queue.wake(redis_url, ["a" * 32])
    with Redis.from_url(redis_url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert queue.wake(redis_url, ["b" * 32]) or queue.wake(redis_url, ["b" * 32])
    assert queue.alive(redis_url)
