"""Find the threads and Redis connections that a block leaves behind."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from redis_optimizer.testing.commands import find_caller, patch_method

GRACE = 2.0  # seconds that threads and connections get to end by themselves
LOOP_THREADS = "asyncio_"  # an event loop's own executor lives as long as the loop


@contextmanager
def find_leaks() -> Iterator[Callable[[], list[str]]]:
    """Yield a function that names what began in the block and has not ended.

    Leaks are threads, coherence channels (each is a thread with one connection), and connections
    that were taken from a pool and neither given back nor closed. The function waits up to 2
    seconds for them to end.
    """
    _start_shared_executor()
    before = set(threading.enumerate())
    with _tracked_pools() as taken:

        def leaks() -> list[str]:
            deadline = time.monotonic() + GRACE
            while found := [*_threads_since(before), *_still_taken(taken)]:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.01)
            return found

        yield leaks


def _start_shared_executor() -> None:
    """Let asgiref start the one thread that it keeps for ever, so that no test seems to."""
    from asgiref.sync import SyncToAsync

    SyncToAsync.single_thread_executor.submit(int).result()


def _threads_since(before: set[threading.Thread]) -> list[str]:
    from redis_optimizer.channel import CLIENT_NAME

    new = [thread.name for thread in threading.enumerate() if thread not in before]
    return [
        "a coherence channel is open: redis_optimizer.cache.registry.shutdown() closes all of them"
        if name == CLIENT_NAME
        else f"the thread {name!r} still runs"
        for name in new
        if not name.startswith(LOOP_THREADS)
    ]


def _still_taken(taken: weakref.WeakKeyDictionary[Any, str]) -> list[str]:
    return [
        f"the connection taken at {where} was not given back to its pool: {connection!r}"
        for connection, where in list(taken.items())
    ]


@contextmanager
def _tracked_pools() -> Iterator[weakref.WeakKeyDictionary[Any, str]]:
    """Yield the connections taken from pools and not given back, with who took them."""
    from redis.connection import AbstractConnection, BlockingConnectionPool, ConnectionPool

    taken: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()

    def take(original: Callable[..., Any], pool: Any, *args: Any, **kwargs: Any) -> Any:
        connection = original(pool, *args, **kwargs)
        taken[connection] = find_caller()
        return connection

    def give_back(original: Callable[..., Any], pool: Any, connection: Any) -> None:
        taken.pop(connection, None)  # first: another thread may take it at once
        original(pool, connection)

    def close(original: Callable[..., Any], connection: Any, *args: Any, **kwargs: Any) -> None:
        taken.pop(connection, None)
        original(connection, *args, **kwargs)

    with ExitStack() as undo:
        for pool_class in (ConnectionPool, BlockingConnectionPool):
            patch_method(undo, pool_class, "get_connection", take)
            patch_method(undo, pool_class, "release", give_back)
        patch_method(undo, AbstractConnection, "disconnect", close)
        yield taken
