"""One read of Redis: what it sends, what it notes, and how long that may be kept."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from redis_optimizer.cache.fill import NO_EXPIRY, Fetch, lifetime

from .caches import counted, plain


@pytest.mark.parametrize(
    ("ttl", "max_age", "unknown", "seconds"),
    [
        (None, 300, 12, 12),
        (None, 10, 12, 10),
        (NO_EXPIRY, 300, 12, 300),
        (60_000, 300, 12, 60),
        (600_000, 300, 12, 300),
        (1, 300, 12, 0.001),
        (0, 300, 12, 0),
    ],
)
def test_the_lifetime_is_the_shortest_that_is_known(
    ttl: int | None, max_age: float, unknown: float, seconds: float
) -> None:
    assert lifetime(ttl, max_age=max_age, unknown=unknown) == seconds


def test_a_key_that_was_gone_when_the_ttl_was_asked_is_not_kept() -> None:
    assert lifetime(-2, max_age=300, unknown=12) <= 0


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    """Return a client that answers in bytes, as django-redis's does."""
    with redis.Redis.from_url(url) as client:
        client.set("text", b"value", px=60_000)
        client.set("eternal", b"value")
        client.rpush("list", "item")
        yield client


class TestGet:
    def test_sends_one_get_and_notes_the_reply(
        self, client: redis.Redis, admin: redis.Redis
    ) -> None:
        fetch = Fetch(client)
        with counted(admin) as calls:
            assert fetch.get("text") == b"value"
        assert calls == {"get": 1}
        assert fetch.raw == {"text": b"value"}
        assert fetch.ttl is None

    def test_asks_for_the_ttl_in_the_same_round_trip(
        self, client: redis.Redis, admin: redis.Redis
    ) -> None:
        fetch = Fetch(client, exact=True)
        with counted(admin) as calls:
            assert fetch.get("text") == b"value"
        assert calls == {"get": 1, "pttl": 1}
        assert fetch.raw == {"text": b"value"}
        assert fetch.ttl is not None
        assert 0 < fetch.ttl <= 60_000

    def test_knows_a_key_that_does_not_expire(self, client: redis.Redis) -> None:
        fetch = Fetch(client, exact=True)
        fetch.get("eternal")
        assert fetch.ttl == NO_EXPIRY

    @pytest.mark.parametrize("exact", [False, True])
    def test_notes_a_key_that_is_absent(self, client: redis.Redis, exact: bool) -> None:
        fetch = Fetch(client, exact=exact)
        assert fetch.get("absent") is None
        assert fetch.raw == {"absent": None}

    @pytest.mark.parametrize("exact", [False, True])
    def test_an_error_is_raised_and_nothing_noted(self, client: redis.Redis, exact: bool) -> None:
        fetch = Fetch(client, exact=exact)
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            fetch.get("list")
        assert fetch.raw == {}
        assert fetch.ttl is None

    def test_a_server_that_forbids_pttl_leaves_the_ttl_unknown(
        self, client: redis.Redis, admin: redis.Redis, url: str
    ) -> None:
        admin.acl_setuser(
            "reader", enabled=True, nopass=True, keys=["*"], commands=["+get", "+hello", "+client"]
        )
        try:
            with redis.Redis.from_url(url, username="reader", password="any") as reader:
                fetch = Fetch(reader, exact=True)
                assert fetch.get("text") == b"value"
                assert fetch.raw == {"text": b"value"}
                assert fetch.ttl is None
        finally:
            admin.acl_deluser("reader")

    @pytest.mark.parametrize("exact", [False, True])
    def test_a_server_that_is_down_is_an_error(self, exact: bool) -> None:
        with redis.Redis(port=1) as client, pytest.raises(redis.ConnectionError):
            Fetch(client, exact=exact).get("text")


class TestMget:
    def test_sends_one_command_and_notes_every_reply(
        self, client: redis.Redis, admin: redis.Redis
    ) -> None:
        fetch = Fetch(client, exact=True)
        with counted(admin) as calls:
            assert fetch.mget("text", "absent", "eternal") == [b"value", None, b"value"]
        assert calls == {"mget": 1}
        assert fetch.raw == {"text": b"value", "absent": None, "eternal": b"value"}
        assert fetch.ttl is None

    def test_a_key_that_is_asked_for_twice_is_noted_once(self, client: redis.Redis) -> None:
        fetch = Fetch(client)
        assert fetch.mget("text", "text") == [b"value", b"value"]
        assert fetch.raw == {"text": b"value"}


class TestWithDjangoRedis:
    """django-redis reads through it as through a client of its own."""

    @pytest.mark.parametrize("exact", [False, True])
    @pytest.mark.parametrize("value", [7, "text", [1], None])
    def test_get(self, url: str, value: Any, exact: bool) -> None:
        cache = plain(url)
        cache.set("key", value)
        fetch = Fetch(cache.client.get_client(), exact=exact)
        assert cache.get("key", "default", client=fetch) == value
        assert list(fetch.raw) == [cache.make_key("key")]
        raw = fetch.raw[cache.make_key("key")]
        assert raw is not None
        assert raw == b"7" if value == 7 else pickle.loads(raw) == value

    def test_get_many(self, url: str) -> None:
        cache = plain(url)
        cache.set_many({"a": 1, "b": [2]})
        fetch = Fetch(cache.client.get_client())
        assert cache.get_many(["a", "b", "c"], client=fetch) == {"a": 1, "b": [2]}
        assert fetch.raw[cache.make_key("a")] == b"1"
        assert fetch.raw[cache.make_key("c")] is None
