"""PINGs: what an answer vouches for, when they are sent, and when the peer is given up."""

import time
from collections.abc import Callable

import redis

from redis_optimizer.channel import Channel
from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.servers import connect, wait_until

from .listeners import Listener

QUICK = {"heartbeat": 0.1, "max_staleness": 1.2}


def test_a_frozen_server_is_given_up_when_a_ping_goes_unanswered(
    open_channel: Callable[..., Channel],
) -> None:
    with EmbeddedServer() as own, redis.Redis(HOST, own.port, socket_timeout=1) as client:
        listener = Listener(client, **QUICK)
        channel = open_channel(client, listener)
        own.freeze()
        channel.ping()
        sent = time.monotonic()
        listener.wait("down")
        assert time.monotonic() - sent >= QUICK["max_staleness"] - 0.1
        wait_until(lambda: "PING" in channel.last_error)
        own.thaw()
        listener.wait("up", 2)


def test_an_answer_vouches_from_when_the_ping_was_sent(
    open_channel: Callable[..., Channel],
) -> None:
    with EmbeddedServer() as own, redis.Redis(HOST, own.port) as client:
        listener = Listener(client)
        channel = open_channel(client, listener)
        own.freeze()
        before = time.monotonic()
        channel.ping()
        after = time.monotonic()
        wait_until(lambda: time.monotonic() > after + 0.3)
        own.thaw()
        listener.wait("alive")
        assert before <= listener.last("alive") - listener.max_staleness <= after
        channel.stop()


def test_one_ping_is_under_way_at_a_time(
    admin: redis.Redis, open_channel: Callable[..., Channel]
) -> None:
    with EmbeddedServer() as own, redis.Redis(HOST, own.port) as client, connect(own) as other:
        listener = Listener(client)
        channel = open_channel(client, listener)
        other.config_resetstat()
        own.freeze()
        for _ in range(10):
            channel.ping()
        own.thaw()
        listener.wait("alive")
        assert other.info("commandstats")["cmdstat_ping"]["calls"] == 1
        channel.stop()


def test_it_pings_while_it_is_used_and_not_otherwise(
    data: redis.Redis, open_channel: Callable[..., Channel]
) -> None:
    listener = Listener(data, **QUICK)
    open_channel(data, listener)

    def used() -> bool:
        listener.read += 1
        return listener.count("alive") >= 3

    wait_until(used)
    seen = listener.count("alive")
    quiet_until = time.monotonic() + 5 * QUICK["heartbeat"]
    wait_until(lambda: time.monotonic() > quiet_until)
    assert listener.count("alive") <= seen + 1  # for the reads since the last one
