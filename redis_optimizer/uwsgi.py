"""uWSGI: it forks in C, where Python learns nothing of it, and runs threads only if told to."""

import importlib
import logging
import sys
from typing import Any, Final

from redis_optimizer.core.forks import begin_child

__all__ = ["can_wait", "has_threads", "prepare"]

logger = logging.getLogger("redis_optimizer")

NO: Final = (False, None, b"false", b"off", b"no", b"0")
"""What an option holds that is switched off."""

_server: Any = None  # its module, which only a process of uWSGI can import
_has_threads = True


def prepare() -> None:
    """Make ready for its forks, where this process is uWSGI's; say so if it runs no threads."""
    global _server, _has_threads
    # It puts its module there before it loads a site. To import that name elsewhere would take a
    # file or directory of the site's own for it.
    module = sys.modules.get("uwsgi")
    if not isinstance(getattr(module, "opt", None), dict):
        return
    _server = module
    _has_threads = _runs_threads(_server.opt)
    if not _has_threads:
        logger.warning(
            "uWSGI runs no threads, so that nothing is kept in process and each job is sent at "
            "once. Set enable-threads = true."
        )
    _watch_forks()


def has_threads() -> bool:
    """Tell whether threads run beside requests."""
    return _has_threads


def can_wait() -> bool:
    """Tell whether this process will send later what it is given now.

    One without threads will not, nor will uWSGI's main process, which has none and no end that
    Python learns of.
    """
    return _server is None or (_has_threads and _server.worker_id() > 0)


def _runs_threads(options: Any) -> bool:
    # More than one thread for requests brings them all.
    return options.get("enable-threads") not in NO or int(options.get("threads", 0)) > 1


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
