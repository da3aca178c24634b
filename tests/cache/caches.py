"""Caches as a site would configure them, and the server's own count of what they send."""

import contextlib
import threading
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import redis
from django_redis.cache import RedisCache

from redis_optimizer.cache import TieredCache
from tests.servers import wait_until

PREFIX = "t"
READY_WITHIN = 60.0  # seconds
# No PING falls into a test that counts commands or expects none.
QUIET = {"HEARTBEAT": 60, "MAX_STALENESS": 121, "START_AFTER": 0}
# The shortest that the options allow: what depends on the bound need not wait long.
QUICK = {"HEARTBEAT": 0.1, "MAX_STALENESS": 1.2, "START_AFTER": 0}


def tiered(
    url: str,
    *,
    ready: bool = True,
    prefix: str = PREFIX,
    l1: Mapping[str, Any] = QUIET,
    params: Mapping[str, Any] | None = None,
    **options: Any,
) -> TieredCache:
    """Return a cache with a tier.

    Args:
        url: LOCATION.
        ready: wait until it keeps what it reads.
        prefix: KEY_PREFIX.
        l1: OPTIONS["L1"].
        params: further settings of the cache.
        options: further OPTIONS.
    """
    cache = TieredCache(url, settings(prefix, params, {**options, "L1": dict(l1)}))
    if ready:
        assert cache.tier.wait_ready(READY_WITHIN), f"not ready: {cache.tier.channel.last_error}"
    return cache


def plain(
    url: str, *, prefix: str = PREFIX, params: Mapping[str, Any] | None = None, **options: Any
) -> RedisCache[Any]:
    """Return django-redis's own cache."""
    return RedisCache(url, settings(prefix, params, options))


def settings(
    prefix: str, params: Mapping[str, Any] | None, options: dict[str, Any]
) -> dict[str, Any]:
    return {"KEY_PREFIX": prefix, "TIMEOUT": 600, **(params or {}), "OPTIONS": options}


def is_kept(cache: TieredCache, key: Any, version: int | None = None) -> bool:
    """Tell whether the process would answer a read of the key by itself; not counted as a read."""
    store = cache.tier.store
    entry = store.entries.get(cache.client.make_key(key, version=version))
    return (
        entry is not None
        and entry.epoch == store.epoch
        and store.now() < min(entry.expires_at, store.valid_until)
    )


def settle(cache: TieredCache) -> None:
    """Wait until the process has heard of every write so far, its own among them.

    Else an invalidation that is still on its way may let go of what the test reads next.
    """
    heard = threading.Event()
    final = f"{cache.tier.prefixes[0]}settle:{uuid.uuid4().hex}"
    end = cache.tier.store.watch(final, heard.set)
    cache.client.get_client(write=True).set(final, b"", px=1)
    assert heard.wait(READY_WITHIN), "no invalidation came"
    end()


def keep(cache: TieredCache, values: Mapping[Any, Any], **kwargs: Any) -> None:
    """Write values, and read them so that the process knows them."""
    store = cache.tier.store
    cache.set_many(dict(values), **kwargs)
    settle(cache)
    for key in values:
        cache.get(key)
        if store.now() >= store.valid_until:  # vouched for a second, and the machine is busy
            wait_until(lambda key=key: (cache.get(key), store.now() < store.valid_until)[1])
            cache.get(key)
        assert is_kept(cache, key)


def wait_dropped(cache: TieredCache, key: Any) -> None:
    """Wait until the process has let go of the key."""
    wait_until(lambda: not is_kept(cache, key))


@contextlib.contextmanager
def deaf(cache: TieredCache) -> Iterator[None]:
    """Let no invalidation reach the cache: what it sees is what it did itself."""
    tier: Any = cache.tier
    tier.on_invalidated = lambda keys: None
    try:
        yield
    finally:
        del tier.on_invalidated


@contextlib.contextmanager
def counted(admin: redis.Redis) -> Iterator[dict[str, int]]:
    """Yield a dict that, at the end, holds how often the server ran each command."""
    calls: dict[str, int] = {}
    admin.config_resetstat()
    yield calls
    calls.update(command_calls(admin))


def command_calls(admin: redis.Redis) -> dict[str, int]:
    """Return the calls of each command since the last CONFIG RESETSTAT, but for ours."""
    ours = {"config|resetstat", "info", "client|list", "client|kill"}
    stats = {name.removeprefix("cmdstat_"): s for name, s in admin.info("commandstats").items()}
    return {name: s["calls"] for name, s in stats.items() if s["calls"] and name not in ours}


def channels(admin: redis.Redis) -> list[dict[str, str]]:
    """Return the channels that the server knows, of any process."""
    return [c for c in admin.client_list() if c["name"].startswith("redis_optimizer:channel:")]


def kill_channels(admin: redis.Redis) -> None:
    """Cut every channel, as a server or a proxy may."""
    for client in channels(admin):
        admin.client_kill_filter(_id=client["id"])
