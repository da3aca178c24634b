"""The tiers and channels of this process: made at first use, shared by all backend objects.

Django makes a backend object for each thread (each request under ASGI); what they keep must be one.
"""

import atexit
import contextlib
import threading
from collections.abc import Mapping
from typing import Any

from django.core.cache import caches
from django.core.signals import setting_changed
from redis.connection import ConnectionPool

from redis_optimizer import uwsgi
from redis_optimizer.cache.cluster import ClusterClient
from redis_optimizer.cache.measured import Remote
from redis_optimizer.cache.options import PART, Options
from redis_optimizer.cache.signing import Refusals
from redis_optimizer.cache.tier import Tier
from redis_optimizer.channel import Channel
from redis_optimizer.conf import cache_settings, get_settings
from redis_optimizer.connections import Cluster, server_of
from redis_optimizer.core.forks import around_fork
from redis_optimizer.core.store import LocalStore
from redis_optimizer.internals import client_class, client_servers
from redis_optimizer.nodes import ClusterChannel
from redis_optimizer.stats.desk import desk
from redis_optimizer.stats.states import states_key
from redis_optimizer.switches import on_change

__all__ = [
    "aliases_of",
    "channels",
    "find_tier",
    "get_refusals",
    "get_tier",
    "limit_bytes",
    "shutdown",
    "tiers",
]

_lock = threading.RLock()
_tiers: dict[str, Tier] = {}
_refusals: dict[str, Refusals] = {}
_channels: dict[tuple[object, ...], Channel | ClusterChannel] = {}
_byte_limit: int | None = None
_stopped: list[Channel | ClusterChannel] = []  # while a fork is under way


def get_tier(server: Any, params: dict[str, Any]) -> Tier | None:
    """Return the tier of the alias that has these settings, made now if need be.

    Args:
        server: The alias's LOCATION: a URL, or a list of them.
        params: The rest of its settings, as Django hands them to a backend.

    Returns:
        The tier, or None when it is switched off, or the client class or the server that runs the
        site cannot have one.

    Raises:
        ImproperlyConfigured: for a wrong option.
    """
    identity = _identity(server, params)
    with _lock:
        tier = _tiers.get(identity)
        if tier is None:
            options = Options.from_params(params)
            if not options.is_on or not get_settings().ENABLED or not uwsgi.has_threads():
                return None
            tier = _tiers[identity] = Tier(
                options,
                Remote(server, params),
                _channel_to,
                _all_stores,
                aliases=aliases_of,
                refusals=get_refusals(server, params),
            )
            _limit(tier)
            _count(tier.remote)
    return tier if get_settings().ENABLED else None


def get_refusals(server: Any, params: dict[str, Any]) -> Refusals:
    """Return what counts the values that the alias with these settings does not take.

    Args:
        server: As with `get_tier`.
        params: As there.
    """
    identity = _identity(server, params)
    with _lock:
        if identity not in _refusals:
            _refusals[identity] = Refusals(lambda: _aliases_of(identity))
        return _refusals[identity]


def tiers() -> list[Tier]:
    """Return the tiers that this process has made."""
    # Without the lock: a channel's thread asks, too, and who stops it waits for it with the lock.
    return list(_tiers.values())


def find_tier(alias: str) -> Tier | None:
    """Return the tier of an alias, if this process has made one."""
    return _tiers.get(_identity_of(alias))


def channels() -> list[Channel | ClusterChannel]:
    """Return the channels of this process."""
    return list(_channels.values())  # without the lock, as above


def shutdown() -> None:
    """Close every channel and keep nothing. Backends in use start anew at their next reads."""
    with _lock:
        for channel in _channels.values():
            channel.stop()
        _channels.clear()
        for tier in _tiers.values():
            tier.stop()


def limit_bytes(max_bytes: int) -> None:
    """Let each tier of this process take ``max_bytes`` at most, where MAX_BYTES is at its default.

    For processes of which there are many, such as the children of a Celery worker.
    """
    global _byte_limit
    with _lock:
        _byte_limit = max_bytes
        for tier in _tiers.values():
            _limit(tier)


def _limit(tier: Tier) -> None:
    if _byte_limit is not None and tier.options.MAX_BYTES == Options.MAX_BYTES:
        tier.store.max_bytes = min(_byte_limit, Options.MAX_BYTES)


def _count(remote: Any) -> None:
    """Have its pools made, so that they count what they send, whoever uses them."""
    if issubclass(client_class(remote), ClusterClient):
        return  # all of its pools do
    with contextlib.suppress(Exception):  # whoever uses them learns what is wrong
        for index in range(len(client_servers(remote))):
            remote.client.connect(index)


def _channel_to(server: ConnectionPool | Cluster) -> Channel | ClusterChannel:
    identity: tuple[object, ...]
    identity = ("cluster", server) if isinstance(server, Cluster) else server_of(server)
    with _lock:
        channel = _channels.get(identity)
        if channel is not None and not channel.is_ours:
            channel.abandon()
            channel = None
        if channel is None:
            channel = _channels[identity] = _open(server)
        return channel


def _open(server: ConnectionPool | Cluster) -> Channel | ClusterChannel:
    namespace = get_settings().NAMESPACE
    if isinstance(server, Cluster):
        return ClusterChannel(server, namespace, desk, states_key(namespace))
    return Channel(server, namespace, control=desk)


def _all_stores() -> list[LocalStore]:
    # Not those of one server alone: it may have several names, and letting go of too much is safe.
    return [tier.store for tier in tiers()]


def aliases_of(tier: Tier) -> list[str]:
    """Return the aliases that share a tier, as their settings are the same."""
    return [alias for alias in cache_settings() if find_tier(alias) is tier]


def _aliases_of(identity: str) -> list[str]:
    return [alias for alias in cache_settings() if _identity_of(alias) == identity]


def _identity_of(alias: str) -> str:
    params = dict(cache_settings()[alias])
    params.pop("BACKEND", None)
    return _identity(params.pop("LOCATION", ""), params)


def _identity(server: object, params: Mapping[str, Any]) -> str:
    # What decides which values a key can have. TIMEOUT and VERSION do not: the version is part of
    # the final key. django-redis's Sentinel factory writes CONNECTION_POOL_CLASS into OPTIONS.
    options = dict(params.get("OPTIONS", {}))
    options.pop("CONNECTION_POOL_CLASS", None)
    return repr((server, params.get("KEY_PREFIX"), params.get("KEY_FUNCTION"), options))


# Fork: neither thread, socket nor held lock may reach the child.


def _before_fork() -> None:
    _lock.acquire()
    _stopped.extend(_channels.values())
    shutdown()
    for tier in _tiers.values():
        tier.before_fork()


def _after_fork_in_parent() -> None:
    for tier in _tiers.values():
        tier.after_fork_in_parent()
    _stopped.clear()
    _lock.release()


def _after_fork_in_child() -> None:
    # uWSGI calls this, but nothing before the fork: then the channels are the parent's, and the
    # locks may be held by threads that are not here.
    global _lock
    _lock = threading.RLock()
    for channel in (*_stopped, *_channels.values()):
        channel.abandon()
    _stopped.clear()
    _channels.clear()
    for tier in _tiers.values():
        tier.after_fork_in_child()
    for refusals in _refusals.values():
        refusals.reset()


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "CACHES":  # Django lets go of all backend objects
        shutdown()
        with _lock:
            _tiers.clear()
            _refusals.clear()
    elif setting == "REDIS_OPTIMIZER":
        shutdown()
        # They look up their tier when they are made. Tiers stay: an object of another thread, or
        # one that somebody holds, must not go on with one that hears of no writes any more.
        for alias in caches:
            with contextlib.suppress(AttributeError):  # this thread has made none
                del caches[alias]


def _switch() -> None:
    for tier in tiers():
        tier.on_switched()


on_change(PART, _switch)
setting_changed.connect(_forget, dispatch_uid="redis_optimizer.cache")
atexit.register(shutdown)
around_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
