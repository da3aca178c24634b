"""Every way in which a process ends, so that it sends what it holds first."""

import atexit
import multiprocessing.util
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from celery.signals import worker_process_shutdown

__all__ = ["watch", "watch_sigterm"]

EARLY = 100
"""Priority among multiprocessing's finalizers: before its own."""

LATE = -1
"""Another one: after its own, too."""

UVICORN = "uvicorn.server"


def watch(
    close: Callable[[], None], is_pending: Callable[[], bool], is_closing: Callable[[], bool]
) -> None:
    """Call `close` before this process ends.

    Not before a kill by signal 9, and not in a process that leaves by ``os._exit`` of its own.

    Args:
        close: Called once or more.
        is_pending: Tells whether there is something to do.
        is_closing: Tells whether it is being done.
    """
    # First, as exit functions run in reverse: uvicorn's signal has to wait for `close`.
    watch_sigterm(is_pending, is_closing)
    atexit.register(close)
    # A child of multiprocessing leaves by os._exit, after its finalizers.
    multiprocessing.util.Finalize(None, close, exitpriority=EARLY)
    # So does a child of a worker's pool, after this signal.
    worker_process_shutdown.connect(
        lambda **kwargs: close(), weak=False, dispatch_uid="redis_optimizer.exits"
    )


def watch_sigterm(is_pending: Callable[[], bool], is_closing: Callable[[], bool]) -> None:
    """Let SIGTERM end the process as ``sys.exit`` does, while something is pending.

    Only where nobody else handles it, and from the main thread: Python allows no other. uvicorn
    handles it, but ends with a second one for which there is no handler: that has to wait.

    Args:
        is_pending: Tells whether there is something to do; asked when the signal arrives.
        is_closing: Tells whether it is being done: then the signal has been heard.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    handler = signal.getsignal(signal.SIGTERM)
    if handler is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _Handler(is_pending, is_closing))
    elif callable(handler) and getattr(handler, "__module__", "") == UVICORN:
        signal.signal(signal.SIGTERM, _Uvicorn(handler))


class _Handler:
    """End the process: with its exit functions where they are needed, else as the signal does."""

    def __init__(self, is_pending: Callable[[], bool], is_closing: Callable[[], bool]) -> None:
        self._is_pending = is_pending
        self._is_closing = is_closing

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._is_closing():
            return
        if self._is_pending():
            raise SystemExit(128 + number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


class _Uvicorn:
    """Let uvicorn stop, and the signal that it then raises for itself wait for exit functions.

    With ``--workers`` it has taken the signal before it loads the site. It ends its requests,
    restores the default and raises the signal once more, in the main thread, which would end the
    process at once (``uvicorn.Server.capture_signals``). In a thread that blocks the signal it
    stays pending.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], object]) -> None:
        self._handler = handler
        # Both run what was registered last, or for a higher priority, first: this after the rest.
        atexit.register(self._let_through)
        multiprocessing.util.Finalize(None, self._let_through, exitpriority=LATE)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._handler(number, frame)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _let_through(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
