"""The process's channel: who is told of what, when the connection is there and when it is not."""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from redis_optimizer.channel import CLIENT_NAME, Channel
from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.subscriber import merge_prefixes
from tests.servers import connect, wait_until

from .listeners import Listener

QUICK = {"heartbeat": 0.1, "max_staleness": 1.2}
NAME = f"{CLIENT_NAME}:{os.getpid()}"


def connections(admin: redis.Redis) -> list[dict[str, Any]]:
    return [client for client in admin.client_list() if client["name"] == NAME]


def test_nothing_happens_until_somebody_subscribes(
    data: redis.Redis, admin: redis.Redis, open_channel: Callable[..., Channel]
) -> None:
    channel = open_channel(data)
    assert connections(admin) == []
    assert (channel.is_up, channel.protocol, channel.connects) == (False, None, 0)
    channel.ping()
    channel.stop()
    assert channel.subscribe(Listener(data)) is False


def test_subscribing_does_not_wait(open_channel: Callable[..., Channel]) -> None:
    with EmbeddedServer() as own, redis.Redis(HOST, own.port) as client:
        own.freeze()
        listener = Listener(client, **QUICK)
        began = time.monotonic()
        channel = Channel(client.connection_pool, "tests")
        assert channel.subscribe(listener)
        assert time.monotonic() - began < 0.5
        own.thaw()
        listener.wait("up")
        channel.stop()


def test_it_is_up_once_a_probe_of_its_own_has_come_back(
    data: redis.Redis, admin: redis.Redis, open_channel: Callable[..., Channel]
) -> None:
    listener = Listener(data, "a:", "b:")
    before = time.monotonic()
    channel = open_channel(data, listener)
    assert [name for name, _ in listener.events] == ["up"]
    (probe,) = listener.probes
    assert probe.startswith("a:redis_optimizer:probe:")
    assert before <= listener.last("up") - listener.max_staleness <= time.monotonic()
    assert (channel.is_up, channel.protocol, channel.connects) == (True, 3, 1)
    assert len(connections(admin)) == 1


def test_writes_under_the_prefixes_are_told_in_order(
    data: redis.Redis, admin: redis.Redis, open_channel: Callable[..., Channel]
) -> None:
    listener = Listener(data, "a:", "b:")
    open_channel(data, listener)
    for key in ("a:1", "b:2", "c:3", "b:4"):
        admin.set(key, 1)
    listener.wait_heard("b:4")
    assert listener.heard() == ["a:1", "b:2", "b:4"]


def test_a_flush_of_any_database_may_concern_every_key(
    data: redis.Redis, admin: redis.Redis, open_channel: Callable[..., Channel]
) -> None:
    listener = Listener(data)
    open_channel(data, listener)
    admin.set("t:1", 1)
    listener.wait_heard("t:1")
    with redis.Redis(HOST, int(admin.get_connection_kwargs()["port"]), db=5) as elsewhere:
        elsewhere.flushdb()
    wait_until(lambda: listener.events[-1] == ("invalidated", None))


def test_what_is_published_disturbs_nobody(
    data: redis.Redis, admin: redis.Redis, open_channel: Callable[..., Channel]
) -> None:
    listener = Listener(data)
    channel = open_channel(data, listener)
    for message in (b"{}", b"\xff\x00", b""):
        assert admin.publish("redis_optimizer:tests", message) == 1
    assert admin.publish("redis_optimizer:another site", "{}") == 0
    admin.set("t:1", 1)
    listener.wait_heard("t:1")
    assert channel.connects == 1


def test_keys_may_be_any_bytes(data: redis.Redis, open_channel: Callable[..., Channel]) -> None:
    listener = Listener(data)
    open_channel(data, listener)
    data.set("t:ключ", 1)
    data.set(b"t:\xff\xfe", 1)
    listener.wait_heard("t:ключ", "t:\udcff\udcfe")


def test_a_later_subscriber_has_all_told_anew(
    data: redis.Redis, admin: redis.Redis, open_channel: Callable[..., Channel]
) -> None:
    first, second = Listener(data, "a:"), Listener(data, "b:")
    channel = open_channel(data, first)
    assert channel.subscribe(second)
    second.wait("up")
    first.wait("up", 2)
    assert [name for name, _ in first.events if name != "invalidated"] == ["up", "down", "up"]
    admin.mset({"a:1": 1, "b:1": 1})
    first.wait_heard("a:1")
    second.wait_heard("b:1")
    assert len(connections(admin)) == 1


def test_a_subscriber_is_taken_once(
    data: redis.Redis, open_channel: Callable[..., Channel]
) -> None:
    listener = Listener(data)
    channel = open_channel(data, listener)
    assert channel.subscribe(listener) is True
    assert (channel.connects, listener.count("down")) == (1, 0)


@pytest.mark.parametrize("cut", ["killed", "interrupted"])
def test_a_lost_connection_is_told_and_made_anew(
    data: redis.Redis, admin: redis.Redis, open_channel: Callable[..., Channel], cut: str
) -> None:
    listener = Listener(data)
    channel = open_channel(data, listener)
    (connection,) = connections(admin)
    if cut == "killed":
        admin.client_kill_filter(_id=connection["id"])
    else:
        channel._link.interrupt()  # type: ignore[union-attr]
    listener.wait("up", 2)
    names = [name for name, _ in listener.events if name != "invalidated"]
    assert names == ["up", "down", "up"]
    assert len(connections(admin)) == 1
    assert "ConnectionError" in channel.last_error
    admin.set("t:1", 1)
    listener.wait_heard("t:1")


def test_a_server_that_dies_and_comes_back_is_heard_again(
    open_channel: Callable[..., Channel],
) -> None:
    with EmbeddedServer() as own, redis.Redis(HOST, own.port) as client:
        listener = Listener(client)
        channel = open_channel(client, listener)
        own.kill()
        listener.wait("down", 3)  # it tries, and fails
        assert (listener.count("up"), channel.is_up) == (1, False)
        own.restart()
        listener.wait("up", 2)
        with connect(own) as other:
            other.set("t:1", 1)
        listener.wait_heard("t:1")


@pytest.mark.parametrize("broken", ["on_invalidated", "on_alive", "on_up"])
def test_a_subscriber_that_fails_has_all_trust_nothing(
    data: redis.Redis, admin: redis.Redis, open_channel: Callable[..., Channel], broken: str
) -> None:
    healthy, failing = Listener(data, "a:"), Listener(data, "b:")
    failures = [ZeroDivisionError()]
    handle = getattr(failing, broken)

    def fail_once(*args: Any) -> None:
        if failures:
            raise failures.pop()
        handle(*args)

    setattr(failing, broken, fail_once)
    channel = Channel(data.connection_pool, "tests")
    channel.subscribe(healthy)
    channel.subscribe(failing)
    try:
        if broken != "on_up":
            wait_until(lambda: healthy.count("up") and failing.count("up"))
        if broken == "on_alive":
            channel.ping()
        admin.set("b:1", 1)
        wait_until(lambda: not failures)
        wait_until(lambda: healthy.count("down") and failing.events[-1][0] == "up")
        assert "ZeroDivisionError" in channel.last_error
        admin.set("b:2", 1)
        failing.wait_heard("b:2")
    finally:
        channel.stop()


def test_stopping_ends_the_thread_and_the_connection_and_tells(
    data: redis.Redis, admin: redis.Redis, open_channel: Callable[..., Channel]
) -> None:
    listener = Listener(data)
    channel = open_channel(data, listener)
    channel.stop()
    assert listener.events[-1] == ("down", None)
    assert not [thread for thread in threading.enumerate() if thread.name == CLIENT_NAME]
    wait_until(lambda: connections(admin) == [])
    channel.stop()


def test_a_channel_of_the_parent_process_is_closed_and_not_shut_down(data: redis.Redis) -> None:
    class Inherited:
        calls: list[str] = []  # noqa: RUF012 # for this test alone

        def __getattr__(self, name: str) -> Callable[[], None]:
            return lambda: self.calls.append(name)

    channel = Channel(data.connection_pool, "tests")
    assert channel.is_ours
    channel._pid = -1
    channel._link = Inherited()  # type: ignore[assignment]
    assert not channel.is_ours
    channel.stop()
    assert Inherited.calls == ["close"]


@pytest.mark.parametrize(
    ("prefixes", "merged"),
    [
        ([], []),
        (["a:", "b:"], ["a:", "b:"]),
        (["a:", "a:"], ["a:"]),
        (["a:1:", "a:", "b:", "a:2"], ["a:", "b:"]),
        (["ab", "a", "b"], ["a", "b"]),
        (["", "a"], [""]),
    ],
)
def test_prefixes_that_the_server_would_refuse_together_are_merged(
    prefixes: list[str], merged: list[str]
) -> None:
    assert merge_prefixes(prefixes) == merged
