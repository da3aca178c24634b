"""A channel to a server that does not tell of writes."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from redis_optimizer import channel as module
from redis_optimizer.channel import Channel
from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.link import Link
from tests.servers import busy, wait_until

from .listeners import Listener


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFUSED_FIRST", 0.1)
    monkeypatch.setattr("redis_optimizer.proof.PROBE_TIMEOUT", 0.2)


@pytest.fixture
def user(admin: redis.Redis, server: EmbeddedServer) -> Iterator[Callable[..., Any]]:
    def make(*rules: str) -> redis.Redis:
        admin.execute_command("ACL", "SETUSER", "u", "on", "nopass", "~*", "&*", "+@all", *rules)
        return redis.Redis(HOST, server.port, username="u", password="any")

    yield make
    admin.acl_deluser("u")


@pytest.mark.parametrize("rule", ["-client|tracking", "-client|setname", "-set", "resetkeys"])
def test_it_is_told_with_the_reason_and_tried_again(
    user: Callable[..., redis.Redis],
    admin: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    rule: str,
) -> None:
    caplog.set_level(logging.WARNING, "redis_optimizer")
    listener = Listener(user(rule))
    channel = Channel(listener.client.connection_pool, "tests")
    try:
        channel.subscribe(listener)
        listener.wait("refused", 3)
        assert "permission" in listener.last("refused")
        assert not channel.is_up
        assert listener.count("up") == 0
        assert len(caplog.records) == 1
        admin.execute_command("ACL", "SETUSER", "u", "~*", "+@all")
        listener.wait("up")
        assert "down" in [name for name, _ in listener.events]
    finally:
        channel.stop()


def test_a_probe_that_does_not_come_back_is_one(
    data: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    understand = Link._understand

    def drop_invalidations(link: Link, message: list[Any]) -> Any:
        event = understand(link, message)
        return None if isinstance(event, module.Invalidated) else event

    monkeypatch.setattr(Link, "_understand", drop_invalidations)
    listener = Listener(data)
    channel = Channel(data.connection_pool, "tests")
    try:
        channel.subscribe(listener)
        listener.wait("refused")
        assert "no invalidation" in listener.last("refused")
    finally:
        channel.stop()


def test_one_who_comes_later_is_told_at_once(
    user: Callable[..., redis.Redis], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REFUSED_FIRST", 60)
    client = user("-client|tracking")
    first, second = Listener(client), Listener(client)
    channel = Channel(client.connection_pool, "tests")
    try:
        channel.subscribe(first)
        first.wait("refused")
        channel.subscribe(second)
        second.wait("refused")
    finally:
        channel.stop()
    assert first.events[-1] == second.events[-1] == ("down", None)


def test_a_script_that_runs_is_none_and_the_channel_is_up_when_it_ends(
    open_channel: Callable[..., Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REFUSED_FIRST", 60)
    monkeypatch.setattr("redis_optimizer.proof.PROBE_TIMEOUT", 60)
    with EmbeddedServer() as own, redis.Redis(HOST, own.port) as client:
        listener = Listener(client)
        channel = open_channel(client, listener)
        with busy(own):
            assert channel._link is not None
            channel._link.interrupt()
            wait_until(lambda: "BUSY" in channel.last_error)
            assert listener.count("refused") == 0
        listener.wait("up", 2)
