"""uWSGI: it forks in C, where Python learns nothing of it, runs threads only if told to, and ends a
process amid a request without its exit functions unless it is told to wait.
"""

import importlib
import logging
import sys
from typing import Any, Final

from redis_optimizer.core.forks import begin_child

__all__ = ["can_wait", "has_threads", "prepare"]

logger = logging.getLogger("redis_optimizer")

NO: Final = (False, None, b"false", b"off", b"no", b"0")
"""What an option holds that is switched off."""

GRACEFUL: Final = "gracefully_kill_them_all"
"""What uWSGI does to stop as soon as no request runs."""

_server: Any = None  # its module, which only a process of uWSGI can import
_has_threads = True
_is_graceful = True


def prepare() -> None:
    """Make ready for its forks, where this process is uWSGI's; say so if jobs cannot wait."""
    global _server, _has_threads, _is_graceful
    # It puts its module there before it loads a site. To import that name elsewhere would take a
    # file or directory of the site's own for it.
    module = sys.modules.get("uwsgi")
    if not isinstance(getattr(module, "opt", None), dict):
        return
    _server = module
    _has_threads = _runs_threads(_server.opt)
    _is_graceful = _stops_gracefully(_server.opt)
    if not _has_threads:
        logger.warning(
            "uWSGI runs no threads, so that nothing is kept in process and each job is sent at "
            "once. Set enable-threads = true."
        )
    elif not _is_graceful:
        logger.warning(
            "uWSGI is not told to stop gracefully: it would end a process amid a request, and the "
            "jobs that wait there would be lost. So each job is sent at once. Set "
            "hook-master-start = unix_signal:15 gracefully_kill_them_all."
        )
    _watch_forks()


def has_threads() -> bool:
    """Tell whether threads run beside requests."""
    return _has_threads


def can_wait() -> bool:
    """Tell whether this process will send later what it is given now.

    One without threads will not, nor one that may be ended amid a request (uWSGI's
    ``uwsgi_python_atexit`` then runs nothing of Python's), nor will uWSGI's main process, which has
    no threads and no end that Python learns of.
    """
    return _server is None or (_has_threads and _is_graceful and _server.worker_id() > 0)


def _runs_threads(options: Any) -> bool:
    # More than one thread for requests brings them all.
    return options.get("enable-threads") not in NO or int(options.get("threads", 0)) > 1


def _stops_gracefully(options: Any) -> bool:
    hook = options.get("hook-master-start", b"")  # the last one, where there are several
    text = hook.decode(errors="replace") if isinstance(hook, bytes) else str(hook)
    # By a FIFO the site may stop as it likes.
    return GRACEFUL in text or options.get("master-fifo") not in NO


def _watch_forks() -> None:
    former = getattr(_server, "post_fork_hook", None)
    try:
        decorators = importlib.import_module("uwsgidecorators")
    except Exception:  # it is not installed, or refuses to work without a master
        _server.post_fork_hook = _Chain(former)
        return
    # The site may import it, too, which would take the place of a hook that is only ours.
    decorators.postfork(begin_child)
    if former is not None and former is not decorators.postfork_chain_hook:
        decorators.postfork(former)


class _Chain:
    def __init__(self, former: Any) -> None:
        self._former = former

    def __call__(self) -> None:
        begin_child()
        if self._former is not None:
            self._former()
