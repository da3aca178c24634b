"""A fork: parent and child serve nothing of each other, and both hear of writes afterwards."""

import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
import redis

from redis_optimizer.cache import TieredCache
from redis_optimizer.channel import CLIENT_NAME
from tests.servers import wait_until

from .caches import channels, is_kept, keep, plain, wait_dropped

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork"),
    # pytest's own watchdog is a thread.
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]

HANGS_AFTER = 30  # seconds


def hang(*args: object) -> None:
    raise TimeoutError("the child hangs here")


def in_child(act: Callable[[], Any], fork: Callable[[], int] = os.fork) -> None:
    """Run `act` in a forked child and fail as it does."""
    reads, writes = os.pipe()
    pid = fork()
    if pid == 0:
        failure = ""
        try:
            signal.signal(signal.SIGALRM, hang)
            signal.alarm(HANGS_AFTER)
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
    if failure:
        pytest.fail(f"In the child:\n{failure}")


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


def test_a_fork_finds_no_thread_of_ours(url: str) -> None:
    script = """if True:
        import os, sys, threading
        from django.conf import settings
        settings.configure()
        from tests.cache.caches import keep, tiered
        cache = tiered(sys.argv[1])
        keep(cache, {"k": 1})
        pid = os.fork()
        assert threading.active_count() == 1
        if pid == 0:
            assert cache.get("k") == 1
            sys.exit()
        assert os.waitpid(pid, 0)[1] == 0
        assert cache.get("k") == 1
    """
    # From Python 3.12 on, a fork with threads draws a warning, a DeprecationWarning; made an error,
    # it would be swallowed.
    done = subprocess.run(
        [sys.executable, "-W", "default::DeprecationWarning", "-c", script, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_grandchild_works_as_well(cache: TieredCache, url: str) -> None:
    keep(cache, {"k": 1})
    in_child(lambda: in_child(lambda: hears_of_writes(cache, url)))
    hears_of_writes(cache, url)


def test_a_fork_while_other_threads_read_and_write_leaves_no_lock_behind(
    cache: TieredCache, url: str
) -> None:
    stop = threading.Event()

    def work(name: str) -> None:
        while not stop.is_set():
            cache.set(name, 1)
            cache.get(name)
            cache.get_or_set("k", "made")

    def child() -> None:
        # Not through the data pool: redis-py's own lock may be held by a thread that is not here.
        assert cache.tier.wait_ready(10)
        store, final = cache.tier.store, "t:1:child"
        assert store.fill(final, store.lease(final), 1, None, 1, inf)
        assert cache.tier.flights.run(final, lambda: 1) == 1
        with redis.Redis.from_url(url) as raw:
            raw.set(final, 2)
        wait_until(lambda: final not in store.entries)

    threads = [threading.Thread(target=work, args=(f"k{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            in_child(child)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
