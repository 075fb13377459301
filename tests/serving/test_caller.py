"Workers are called beside the requests: whoever submits never waits for Redis, and calls of a moment go together."

import threading
from collections.abc import Iterator

import pytest
from redis import Redis

from serving.api.caller import Caller
from serving.jobs import queue


class Slow:
    "A queue that takes calls when it is told to."

    def __init__(self, patch: pytest.MonkeyPatch):
        self.calls: list[list[str]] = []
        self.asked, self.answers = threading.Event(), threading.Event()
        patch.setattr(queue, "wake", self._wake)

    def _wake(self, _url: str, ids: list[str]) -> bool:
        self.asked.set()
        assert self.answers.wait(30)
        self.calls.append(list(ids))
        return True


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(monkeypatch)


@pytest.fixture
def caller() -> Iterator[Caller]:
    made = Caller("redis://nowhere")
    made.start()
    yield made
    made.stop()
    assert not made.is_alive()


def test_calls_that_come_while_one_is_under_way_are_one(slow: Slow, caller: Caller):
    caller.call("first")
    assert slow.asked.wait(30)
    for number in range(20):
        caller.call(str(number))  # comes back, although Redis hangs
    slow.answers.set()
    caller.stop()
    assert slow.calls == [["first"], [str(number) for number in range(20)]]


def test_only_so_many_calls_wait(slow: Slow, caller: Caller):
    caller.call("first")
    assert slow.asked.wait(30)
    for number in range(queue.ENOUGH + 100):
        caller.call(str(number))
    slow.answers.set()
    caller.stop()
    assert [len(ids) for ids in slow.calls] == [1, queue.ENOUGH]


def test_what_was_submitted_before_the_end_is_called_for(redis_url: str):
    caller = Caller(redis_url)
    caller.start()
    for number in range(5):
        caller.call(f"{number:032x}")
    caller.stop()
    with Redis.from_url(redis_url) as client:
        assert client.llen(f"rq:queue:{queue.QUEUE}") == 5
