"""ATOMIC_REQUESTS: a transaction begins when a view runs, and for no response that is kept."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from django.db import connections, transaction

from redis_optimizer.internals import non_atomic_requests, set_non_atomic_requests

__all__ = ["Transactions", "never_atomic"]

C = TypeVar("C", bound=Callable[..., Any])


def never_atomic(view: C) -> C:
    """Leave a view out of ``ATOMIC_REQUESTS``: it is to answer without a database, too."""
    set_non_atomic_requests(view, _Refused())
    return view


class Transactions:
    """Run a view as Django would, inside of what Django runs outside of any transaction.

    Django refuses coroutine functions where a database has ATOMIC_REQUESTS, so this is for others.

    Args:
        view: What is run.
    """

    def __init__(self, view: Callable[..., Any]) -> None:
        self._view = view
        self._refused = _Refused(non_atomic_requests(view))

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the view in a transaction of each database that has ATOMIC_REQUESTS."""
        with ExitStack() as stack:
            for alias, options in connections.settings.items():
                if options["ATOMIC_REQUESTS"] and not self._refused.names(alias):
                    stack.enter_context(transaction.atomic(using=alias))
            return self._view(*args, **kwargs)

    def mark(self, wrapper: C) -> C:
        """Tell Django to run what wraps the view outside of transactions."""
        set_non_atomic_requests(wrapper, self._refused)
        return wrapper


class _Refused(set[str]):
    """The databases for which the site has decorated a view with `non_atomic_requests`.

    That may stand inside or outside of our own decorator, and adds to this set in both cases.
    Django, which looks whether a database is in it, finds all of them.
    """

    def __contains__(self, alias: object) -> bool:
        return True

    def names(self, alias: str) -> bool:
        """Tell whether a database is truly in it."""
        return super().__contains__(alias)
