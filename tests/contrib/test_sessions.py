"""The session engine: what is gone stays gone, and what is not known is not taken for gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.cache import SessionStore as DjangosStore
from django.core.cache import caches

from redis_optimizer.cache import TieredCache
from redis_optimizer.contrib.sessions import SessionStore
from redis_optimizer.embedded import EmbeddedServer
from tests.cache.caches import QUIET, READY_WITHIN, counted, deaf, is_kept, plain, settle

ALIAS = "sessions"
PREFIX = "django.contrib.sessions.cache"
Engine = type[DjangosStore]
Save = Callable[[Any], None]


def save(store: Any) -> None:
    store.save()


def asave(store: Any) -> None:
    asyncio.run(store.asave())


@pytest.fixture(autouse=True)
def sessions(settings: Any, server: EmbeddedServer) -> TieredCache:
    """Return the cache of the sessions."""
    settings.SESSION_CACHE_ALIAS = ALIAS
    settings.CACHES = settings.CACHES | {ALIAS: alias(server.url)}
    cache: Any = caches[ALIAS]
    assert cache.tier.wait_ready(READY_WITHIN)
    return cache


@pytest.fixture
def url(server: EmbeddedServer) -> str:
    """Return the URL of the test's server."""
    return server.url


def alias(url: str, **options: Any) -> dict[str, Any]:
    backend = "redis_optimizer.cache.TieredCache"
    options = {"L1": QUIET, **options}
    return {"BACKEND": backend, "LOCATION": url, "KEY_PREFIX": "t", "OPTIONS": options}


def begun(**data: Any) -> str:
    """Begin a session and return its key."""
    store = SessionStore()
    store.update(data)
    store.create()
    store.save()
    assert store.session_key is not None
    return store.session_key


def known(cache: TieredCache, **data: Any) -> str:
    """Begin a session that the process knows, and return its key."""
    key = begun(**data)
    settle(cache)
    assert dict(SessionStore(key).items()) == data
    assert is_kept(cache, PREFIX + key)
    return key


class TestSaving:
    @pytest.mark.parametrize("save", [save, asave])
    @pytest.mark.parametrize("engine", [SessionStore, DjangosStore])
    def test_a_session_that_another_process_has_ended_stays_so(
        self, sessions: TieredCache, url: str, engine: Engine, save: Save
    ) -> None:
        """With Django's engine it lives again: what is asserted can fail."""
        key = known(sessions, user=1)
        store = engine(key)
        with deaf(sessions):
            plain(url).delete(PREFIX + key)
            store["note"] = "milk"
            if engine is SessionStore:
                with pytest.raises(UpdateError):
                    save(store)
            else:
                save(store)
        assert plain(url).has_key(PREFIX + key) is (engine is DjangosStore)

    @pytest.mark.parametrize("save", [save, asave])
    def test_one_that_is_there_is_written_by_one_command(
        self, sessions: TieredCache, admin: redis.Redis, save: Save
    ) -> None:
        key = known(sessions, user=1)
        store = SessionStore(key)
        store["note"] = "milk"
        with counted(admin) as commands:
            save(store)
        assert commands == {"set": 1}
        assert dict(SessionStore(key).items()) == {"user": 1, "note": "milk"}
        assert 0 < sessions.ttl(PREFIX + key) <= store.get_expiry_age()

    @pytest.mark.parametrize("save", [save, asave])
    def test_one_that_was_never_there_is_not_made(
        self, sessions: TieredCache, url: str, save: Save
    ) -> None:
        key = "a" * 32
        with pytest.raises(UpdateError):
            save(SessionStore(key))
        assert not plain(url).has_key(PREFIX + key)

    @pytest.mark.parametrize("save", [save, asave])
    def test_one_that_this_process_missed_is_not_emptied(
        self, sessions: TieredCache, url: str, save: Save
    ) -> None:
        key = "a" * 32
        assert SessionStore(key).load() == {}
        with deaf(sessions):
            plain(url).set(PREFIX + key, {"user": 1})
            with pytest.raises(UpdateError):
                save(SessionStore(key))
        assert plain(url).get(PREFIX + key) == {"user": 1}

    @pytest.mark.parametrize("save", [save, asave])
    def test_a_new_one_gets_a_key(self, url: str, save: Save) -> None:
        store = SessionStore()
        store["user"] = 1
        save(store)
        assert plain(url).get(f"{PREFIX}{store.session_key}") == {"user": 1}

    def test_on_a_cache_that_cannot_look_it_is_saved_as_by_django(self, settings: Any) -> None:
        backend = "django.core.cache.backends.locmem.LocMemCache"
        settings.CACHES = settings.CACHES | {ALIAS: {"BACKEND": backend}}
        key = begun(user=1)
        store = SessionStore(key)
        store["note"] = "milk"
        store.save()
        assert SessionStore(key)["note"] == "milk"

    @pytest.mark.parametrize("save", [save, asave])
    def test_on_plain_django_redis_it_is_as_safe(self, settings: Any, url: str, save: Save) -> None:
        settings.SESSION_CACHE_ALIAS = "plain"
        key = begun(user=1)
        store = SessionStore(key)
        store["note"] = "milk"
        save(store)
        assert SessionStore(key)["note"] == "milk"
        store["note"] = "bread"
        SessionStore(key).delete()
        with pytest.raises(UpdateError):
            save(store)


class TestEnding:
    def test_a_new_key_ends_the_old_one(self, sessions: TieredCache, url: str) -> None:
        key = known(sessions, user=1)
        store = SessionStore(key)
        store.cycle_key()
        store.save()
        assert store.session_key != key
        assert not plain(url).has_key(PREFIX + key)
        assert SessionStore(key).load() == {}
        assert dict(SessionStore(store.session_key).items()) == {"user": 1}

    async def test_so_it_does_asynchronously(self, sessions: TieredCache) -> None:
        store = SessionStore()
        await store.aset("user", 1)
        await store.asave()
        key = store.session_key
        assert key is not None
        await store.acycle_key()
        await store.asave()
        assert await SessionStore(key).aload() == {}
        assert await SessionStore(store.session_key).aload() == {"user": 1}
        await store.aflush()
        assert not await sessions.ahas_key(f"{PREFIX}{store.session_key}")

    def test_flush_ends_it(self, sessions: TieredCache, url: str) -> None:
        key = known(sessions, user=1)
        SessionStore(key).flush()
        assert not plain(url).has_key(PREFIX + key)
        assert SessionStore(key).load() == {}

    def test_redis_itself_clears_what_has_expired(self, admin: redis.Redis) -> None:
        begun(user=1)
        with counted(admin) as commands:
            SessionStore.clear_expired()
        assert commands == {}


class TestLoading:
    def test_while_it_is_known_it_costs_nothing(
        self, sessions: TieredCache, admin: redis.Redis
    ) -> None:
        key = known(sessions, user=1)
        with counted(admin) as commands:
            assert SessionStore(key)["user"] == 1
            assert asyncio.run(SessionStore(key).aload()) == {"user": 1}
            assert SessionStore(key).exists(key)
        assert commands == {}

    def test_each_request_has_data_of_its_own(self, sessions: TieredCache) -> None:
        key = known(sessions, cart=["milk"])
        SessionStore(key)["cart"].append("bread")
        assert SessionStore(key)["cart"] == ["milk"]

    def test_what_cannot_be_read_is_no_session(self, admin: redis.Redis) -> None:
        key = "a" * 32
        admin.set(f"t:1:{PREFIX}{key}", b"\x80garbage")
        for load in (SessionStore(key).load, lambda: asyncio.run(SessionStore(key).aload())):
            assert load() == {}

    def test_a_server_that_is_away_ends_no_session(self, settings: Any) -> None:
        with EmbeddedServer() as away:
            settings.CACHES = settings.CACHES | {ALIAS: alias(away.url)}
            key = begun(user=1)
        caches[ALIAS].tier.store.clear()  # type: ignore[attr-defined]
        store = SessionStore(key)
        with pytest.raises(redis.ConnectionError):
            store.load()
        with pytest.raises(redis.ConnectionError):
            asyncio.run(store.aload())
        assert store.session_key == key

    def test_where_errors_are_ignored_it_seems_empty_as_with_django(self, settings: Any) -> None:
        with EmbeddedServer() as away:
            settings.CACHES = settings.CACHES | {ALIAS: alias(away.url, IGNORE_EXCEPTIONS=True)}
            key = begun(user=1)
            store = SessionStore(key)
            assert store["user"] == 1
        store.save()
        caches[ALIAS].tier.store.clear()  # type: ignore[attr-defined]
        assert SessionStore(key).load() == {}
