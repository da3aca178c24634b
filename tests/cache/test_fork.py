"""A fork: parent and child serve nothing of each other, and both hear of writes afterwards."""

import ctypes
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import redis

from redis_optimizer.cache import TieredCache
from redis_optimizer.channel import CLIENT_NAME
from tests.servers import wait_until

from .caches import channels, is_kept, keep, plain, wait_dropped

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")


def in_child(act: Callable[[], Any], fork: Callable[[], int] = os.fork) -> None:
    """Run `act` in a forked child and fail as it does."""
    reads, writes = os.pipe()
    pid = fork()
    if pid == 0:
        failure = ""
        try:
            act()
        except BaseException:
            failure = traceback.format_exc()
        with os.fdopen(writes, "w") as pipe:
            pipe.write(failure)
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        failure = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    assert failure == ""


def fork_in_c() -> int:
    """Fork as uWSGI does: Python is not told."""
    pid: int = ctypes.PyDLL(None).fork()
    return pid


def hears_of_writes(cache: TieredCache, url: str) -> None:
    """Assert that the cache keeps what it reads and hears when it changes."""
    cache.get("k")
    assert cache.tier.wait_ready(10)
    keep(cache, {"k": os.getpid()})
    plain(url).set("k", "theirs")
    wait_dropped(cache, "k")
    assert cache.get("k") == "theirs"


def test_a_child_serves_nothing_of_its_parent(cache: TieredCache) -> None:
    keep(cache, {"k": 1})

    def child() -> None:
        assert not is_kept(cache, "k")
        assert not cache.tier.ready

    in_child(child)


def test_both_sides_work_and_hear_of_writes(cache: TieredCache, url: str) -> None:
    keep(cache, {"k": 1})
    in_child(lambda: hears_of_writes(cache, url))
    hears_of_writes(cache, url)


def test_each_side_has_a_channel_of_its_own(cache: TieredCache, admin: redis.Redis) -> None:
    def child() -> None:
        assert cache.tier.wait_ready(10)
        names = {client["name"] for client in channels(admin)}
        assert f"{CLIENT_NAME}:{os.getpid()}" in names

    in_child(child)
    assert cache.tier.wait_ready(10)
    wait_until(
        lambda: [client["name"] for client in channels(admin)] == [f"{CLIENT_NAME}:{os.getpid()}"]
    )


def test_a_fork_finds_no_thread_of_ours(cache: TieredCache) -> None:
    keep(cache, {"k": 1})
    others = threading.active_count() > 2  # ours, and pytest's own
    with warnings.catch_warnings():
        warnings.simplefilter("default" if others else "error", DeprecationWarning)
        in_child(lambda: None)
    assert all(thread.name != CLIENT_NAME for thread in threading.enumerate())


def test_a_grandchild_works_as_well(cache: TieredCache, url: str) -> None:
    keep(cache, {"k": 1})
    in_child(lambda: in_child(lambda: hears_of_writes(cache, url)))
    hears_of_writes(cache, url)


def test_a_fork_while_other_threads_read_leaves_no_lock_behind(
    cache: TieredCache, url: str
) -> None:
    stop = threading.Event()

    def work(name: str) -> None:
        while not stop.is_set():
            cache.set(name, 1)
            cache.get(name)
            cache.get_or_set("k", "made")

    threads = [threading.Thread(target=work, args=(f"k{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            for _ in range(10):
                in_child(lambda: hears_of_writes(cache, url))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.skipif(sys.platform != "linux", reason="needs the C library's fork by its name")
def test_a_fork_that_python_is_not_told_of_works_as_well(
    cache: TieredCache, url: str, admin: redis.Redis
) -> None:
    keep(cache, {"k": 1})
    mine = channels(admin)

    def child() -> None:
        cache.get("absent")  # the first read finds out
        assert not is_kept(cache, "k")
        hears_of_writes(cache, url)

    in_child(child, fork_in_c)
    hears_of_writes(cache, url)
    assert [client["id"] for client in channels(admin)] == [client["id"] for client in mine]
