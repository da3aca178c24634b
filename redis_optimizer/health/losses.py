"""Drop a good verdict as soon as something is seen that speaks against it."""

import sys
from collections.abc import Iterator
from typing import Final

from django.core.signals import got_request_exception

from redis_optimizer.health.verdict import drop_verdicts
from redis_optimizer.signals import server_lost

__all__: list[str] = []

KINDS: Final = (
    ("django.db.utils", "OperationalError"),
    ("django.db.utils", "InterfaceError"),
    ("redis.exceptions", "ConnectionError"),
    ("redis.exceptions", "TimeoutError"),
    ("django_redis.exceptions", "ConnectionInterrupted"),
    ("kombu.exceptions", "OperationalError"),
)
"""What is raised when a database, a cache or a broker does not answer. Where the module is not
loaded, nobody has raised it."""

MOST_CAUSES: Final = 20  # errors that are looked at, from the one that ended the request


def _on_server_lost(reason: str = "", **kwargs: object) -> None:
    drop_verdicts(reason)


def _on_exception(**kwargs: object) -> None:
    error = sys.exc_info()[1]  # the signal is sent while it is handled
    if error is None:
        return
    # One that another thread is importing may not have its names yet.
    found = (getattr(sys.modules.get(module), name, None) for module, name in KINDS)
    kinds = tuple(kind for kind in found if isinstance(kind, type))
    for cause in _causes(error):
        if isinstance(cause, kinds):
            drop_verdicts(f"a request raised {type(cause).__name__}")
            return


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and those that it came of."""
    seen: set[int] = set()
    waiting = [error]
    while waiting and len(seen) < MOST_CAUSES:
        error = waiting.pop()
        if id(error) not in seen:
            seen.add(id(error))
            yield error
            waiting += [cause for cause in (error.__context__, error.__cause__) if cause]


server_lost.connect(_on_server_lost, dispatch_uid="redis_optimizer.health.losses")
got_request_exception.connect(_on_exception, dispatch_uid="redis_optimizer.health.losses")
