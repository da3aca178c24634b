"""What is to be done around a fork, whether Python makes it or a server that is written in C."""

import os
import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["around_fork", "begin_child", "join_thread"]

LINGERING: Final = 0.05
"""Seconds that a thread which has ended is given to be gone for the operating system."""

_in_child: list[Callable[[], object]] = []


def around_fork(
    *,
    before: Callable[[], object] | None = None,
    after_in_parent: Callable[[], object] | None = None,
    after_in_child: Callable[[], object],
) -> None:
    """Have functions called around each fork, as `os.register_at_fork` does.

    Args:
        before: Called in the parent first, those registered last before the others.
        after_in_parent: Called in the parent afterwards.
        after_in_child: Called in the child. It must do without `before`, and may be called twice.
    """
    _in_child.append(after_in_child)
    if hasattr(os, "register_at_fork"):  # not on Windows
        given = {"before": before, "after_in_parent": after_in_parent}
        os.register_at_fork(
            after_in_child=after_in_child,
            **{name: function for name, function in given.items() if function is not None},
        )


def join_thread(thread: threading.Thread, timeout: float) -> None:
    """Wait until a thread has ended, and until Linux knows of it.

    Python calls a thread ended a moment before the operating system does; it asks the latter for
    the number of threads at a fork, and warns of them since 3.12 ("multi-threaded, use of fork()
    may lead to deadlocks").

    Args:
        thread: The thread.
        timeout: Seconds to wait for its end.
    """
    thread.join(timeout)
    if thread.is_alive() or thread.native_id == threading.get_native_id():  # a greenlet of gevent's
        return
    task = f"/proc/self/task/{thread.native_id}"
    until = time.monotonic() + LINGERING
    while os.path.exists(task) and time.monotonic() < until:
        time.sleep(0.0005)


def begin_child() -> None:
    """Do in a child what Python does after a fork of its own: it was forked in C."""
    for function in _in_child:
        function()
