"""Celery's settings."""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final, Literal

from django.core.exceptions import ImproperlyConfigured

from redis_optimizer.connections.addresses import (
    celery_url,
    is_sentinel,
    is_socket,
    split_url,
)
from redis_optimizer.connections.profiles import find_profile
from redis_optimizer.connections.sockets import (
    COMMAND_TIMEOUT,
    CONNECT_TIMEOUT,
    KEEPALIVE,
    keepalive_options,
)

__all__ = ["celery_settings"]

POOL_LIMIT: Final = 3
"""Broker connections of a process. kombu opens two sockets for each."""

RESULT_CONNECTIONS: Final = 5
"""Connections for results: of a process, or of each thread before Celery 5.7; one listens."""

# With the timeouts below a call to a broker that does not answer ends within half a minute.
PUBLISH_RETRIES: Final = {
    "max_retries": 2,
    "interval_start": 0,
    "interval_step": 0.5,
    "interval_max": 0.5,
}

SENTINEL_RESULTS: Final = "redis_optimizer.tasks.results:SentinelBackend"
RESULTS: Final = {
    "redis": "redis_optimizer.tasks.results:RedisBackend",
    "django-db": "redis_optimizer.tasks.results:DatabaseBackend",
}

# What redis-py repeats by itself may be sent twice, and kombu then gives up batches.
REFUSED: Final = ("retry", "retry_on_error", "retry_on_timeout")


def celery_settings(
    url: str,
    profile: str = "balanced",
    *,
    results: Literal["redis", "django-db"] | None = "redis",
    result_url: str | None = None,
    timeout: float = COMMAND_TIMEOUT,
    connect_timeout: float = CONNECT_TIMEOUT,
    keepalive: int = KEEPALIVE,
    pool_limit: int = POOL_LIMIT,
    result_connections: int = RESULT_CONNECTIONS,
    transport_options: Mapping[str, Any] | None = None,
    namespace: str = "CELERY",
) -> dict[str, Any]:
    """Return Celery's settings for a broker on Redis.

    ::

        globals().update(celery_settings(REDIS_URL, profile="metered"))

    The profiles, with the commands that an idle worker sends in a minute:

    ``default`` (100)
        Celery as it comes. Only the URLs, as Celery takes them, and `transport_options` are set.
    ``balanced`` (25)
        No gossip, no mingle, a heartbeat every 20 s (monitors see the worker), jobs awaited 4 s at
        a time.
    ``metered`` (4)
        No heartbeat either, jobs awaited 60 s at a time. CLIENT UNBLOCK ends the wait when the
        worker stops; where an ACL denies that, it is 4 s.
    ``metered_no_remote_control`` (3)
        The same, deaf to ``celery inspect`` and ``celery control``: two connections less.

    A job is taken as soon as it comes, in all of them. Everything but "default" also bounds every
    wait, shares connections between threads (those for results only on Celery 5.7), and takes the
    backends for results that keep the last few.

    Args:
        url: The broker: ``redis://``, ``rediss://`` (certificates are verified unless it says
            ``ssl_cert_reqs=none``), ``unix://``, or ``sentinel://`` with ``master_name`` among
            `transport_options`. Several are separated by ``;``. What is special in a password
            must be quoted.
        profile: One of the above.
        results: Where results go: "redis", "django-db", or None, which sets no backend.
        result_url: The one server for results in Redis, or its Sentinels; None: that of the
            broker.
        timeout: Seconds that a command may take, and that a thread waits for a connection. It does
            not end the wait for jobs, whose reply is read when it is there.
        connect_timeout: Seconds that connecting may take.
        keepalive: Seconds of silence before TCP keepalive asks; 0: it does not.
        pool_limit: Connections to the broker of each process.
        result_connections: Connections for results of each process; before Celery 5.7, of each
            of its threads.
        transport_options: Added to the broker's, and before ours.
        namespace: What the names begin with: that of ``app.config_from_object``.

    Returns:
        A new dict of settings.

    Raises:
        ImproperlyConfigured: for an unknown profile or kind of results, a URL that is not of
            Redis or cannot be read, Sentinels without ``master_name``, several servers for
            results, or an option that has redis-py repeat what it sent.
    """
    chosen = find_profile(profile)
    if results is not None and results not in RESULTS:
        raise ImproperlyConfigured(
            f"Results cannot go to {results!r}. They can go to: {', '.join(RESULTS)}, None."
        )
    given = dict(transport_options or {})
    store = result_url or url
    _refuse([url, store] if results == "redis" else [url], given)
    settings: dict[str, Any]
    if profile == "default":
        settings = {"broker_url": celery_url(url), "broker_transport_options": given}
        settings |= _plain_results(results, store, given)
        return _named(settings, namespace)
    settings = {
        "broker_url": celery_url(url),
        "broker_transport_options": {
            **chosen.transport,
            "socket_timeout": timeout,
            "socket_connect_timeout": connect_timeout,
            **keepalive_options(keepalive),
            **given,
        },
        "broker_pool_limit": pool_limit,
        "broker_pool_acquire_timeout": timeout,  # Celery 5.7; before it there is no bound
        "broker_connection_retry_on_startup": True,
        "task_publish_retry_policy": dict(PUBLISH_RETRIES),
        "worker_consumer": chosen.consumer,
        "worker_enable_remote_control": chosen.remote_control,
    }
    if results == "django-db":
        settings["result_backend"] = RESULTS[results]
    elif results == "redis":
        settings |= _redis_results(store, given)
        settings |= {
            "redis_max_connections": result_connections,
            "redis_socket_timeout": timeout,
            "redis_socket_connect_timeout": connect_timeout,
            "redis_socket_keepalive": bool(keepalive) and not is_socket(store),
            **_shared_backend(),
        }
    return _named(settings, namespace)


def _plain_results(
    results: str | None, url: str, transport_options: Mapping[str, Any]
) -> dict[str, Any]:
    if results is None:
        return {}
    if results == "django-db":
        return {"result_backend": results}
    return {"result_backend": _result_url(url), **_sentinel_options(url, transport_options)}


def _redis_results(url: str, transport_options: Mapping[str, Any]) -> dict[str, Any]:
    backend = SENTINEL_RESULTS if is_sentinel(url) else RESULTS["redis"]
    return {
        "result_backend": f"{backend}+{_result_url(url).removeprefix('redis+')}",
        **_sentinel_options(url, transport_options),
    }


def _result_url(url: str) -> str:
    if not is_sentinel(url) and len(split_url(url)) > 1:
        raise ImproperlyConfigured("Results have one server: name it by result_url.")
    return celery_url(url)


def _sentinel_options(url: str, transport_options: Mapping[str, Any]) -> dict[str, Any]:
    if not is_sentinel(url):
        return {}
    names = ("master_name", "min_other_sentinels", "sentinel_kwargs")
    options = {name: transport_options[name] for name in names if name in transport_options}
    return {"result_backend_transport_options": options}


def _shared_backend() -> dict[str, bool]:
    # One for all threads. Before 5.7 two threads that wait for results take each other's.
    major, minor = (int(part) for part in version("celery").split(".")[:2])
    return {"result_backend_thread_safe": (major, minor) >= (5, 7)}


def _refuse(urls: Iterable[str], transport_options: Mapping[str, Any]) -> None:
    refused = [name for name in REFUSED if transport_options.get(name)]
    if refused:
        raise ImproperlyConfigured(
            f"{', '.join(refused)} on the broker may send a job twice, and switches off sending "
            "many jobs by one command. Celery itself retries: see task_publish_retry_policy."
        )
    if "master_name" not in transport_options and any(is_sentinel(url) for url in urls):
        raise ImproperlyConfigured(
            'sentinel:// needs transport_options={"master_name": ...}: the name of the master.'
        )


def _named(settings: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    return {f"{namespace}_{name.upper()}": value for name, value in settings.items()}
