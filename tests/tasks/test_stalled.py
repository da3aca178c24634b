"""A channel whose broker does not answer: it is left when an answer is overdue."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from queue import Empty
from typing import Any

import pytest
import redis
from celery import Celery
from kombu.transport import redis as transport

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks import stalled
from redis_optimizer.tasks.celery_internals import (
    close_when_lost,
    is_under_sentinel,
    is_waiting,
    set_wait,
    waiting_connection,
)
from redis_optimizer.tasks.stalled import GRACE, Stall
from tests.servers import wait_until


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stalled, "monotonic", clock)
    return clock


def waiting(channel: Any) -> socket.socket:
    """Have a channel begin to wait for jobs; return the socket on which it does."""
    channel._active_queues.append("jobs")
    channel._queue_cycle.update(["jobs"])
    connection = waiting_connection(channel)
    channel._brpop_start()
    assert is_waiting(channel)
    sock: socket.socket = connection._sock
    return sock


def is_cut(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False


@pytest.fixture
def channel() -> Iterator[Any]:
    """Return a channel of a broker of its own, which is gone when the channel is closed."""
    with EmbeddedServer() as own:
        connection = Celery(broker=own.url).connection_for_read()
        channel: Any = connection.default_channel
        close_when_lost(channel)
        yield channel
        own.kill()
        channel.close()


def test_it_is_cut_when_the_answer_is_overdue(channel: Any, clock: Clock) -> None:
    stall = Stall(channel)
    set_wait(channel, 100)
    sock = waiting(channel)
    clock.now = 100 + GRACE - 1
    stall.end()
    assert not is_cut(sock)
    clock.now = 100 + GRACE
    stall.end()
    assert is_cut(sock)


def test_one_that_waits_for_ever_or_not_at_all_is_left_alone(channel: Any, clock: Clock) -> None:
    stall = Stall(channel)
    set_wait(channel, 0)
    clock.now = 1e9
    stall.end()
    sock = waiting(channel)
    clock.now = 2e9
    stall.end()
    assert not is_cut(sock)


def test_a_wait_that_is_answered_is_not_overdue(channel: Any, clock: Clock) -> None:
    stall = Stall(channel)
    set_wait(channel, 1)
    sock = waiting(channel)
    with pytest.raises(Empty):  # after a second
        channel.handlers["BRPOP"]()
    clock.now = 1e9
    stall.end()
    assert not is_cut(sock)


def test_an_answer_that_is_still_to_be_read_is_not_overdue(channel: Any, clock: Clock) -> None:
    """The worker was held up itself: the broker is as quick as ever."""
    stall = Stall(channel)
    set_wait(channel, 100)
    sock = waiting(channel)
    connection = waiting_connection(channel)
    with redis.Redis(connection.host, connection.port) as other:
        other.lpush("jobs", b"a job")
    wait_until(lambda: select.select([sock], [], [], 0)[0])
    clock.now = 1e9
    stall.end()
    assert b"a job" in sock.recv(1000)
    assert not is_cut(sock)


def test_a_channel_that_waits_is_closed_when_the_server_is_gone() -> None:
    """Else the worker ends with an error of kombu's, when it has messages to put back."""
    with EmbeddedServer() as own:
        connection = Celery(broker=own.url).connection_for_read()
        channel: Any = connection.default_channel
        close_when_lost(channel)
        waiting(channel)
        own.kill()
        channel.close()
        assert channel.closed
        channel.close()  # as Celery does


def test_it_is_for_sentinel_alone(server: EmbeddedServer) -> None:
    with Celery(broker=server.url).connection_for_read() as connection:
        assert not is_under_sentinel(connection.default_channel)
    assert is_under_sentinel(object.__new__(transport.SentinelChannel))
