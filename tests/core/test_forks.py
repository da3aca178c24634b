"""A thread that was waited for is gone for the operating system as well."""

import os
import sys
import threading

import pytest

from redis_optimizer.core.forks import join_thread


@pytest.mark.skipif(sys.platform != "linux", reason="It is asked of /proc")
def test_a_thread_that_has_ended_is_not_counted_at_a_fork() -> None:
    for _ in range(300):
        thread = threading.Thread(target=int)
        thread.start()
        join_thread(thread, 10)
        assert not os.path.exists(f"/proc/self/task/{thread.native_id}")


def test_a_thread_that_does_not_end_is_not_awaited_for_long() -> None:
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    join_thread(thread, 0.01)
    assert thread.is_alive()
    ended.set()
    join_thread(thread, 10)
    assert not thread.is_alive()
