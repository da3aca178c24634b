"""``cached_status`` and ``cached_health``: decorators for views that many clients poll."""

import functools
import inspect
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar, cast, overload

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.views import View

from redis_optimizer.decorators.endpoint import Endpoint
from redis_optimizer.decorators.limits import names, title
from redis_optimizer.decorators.rules import Rules
from redis_optimizer.decorators.transactions import Transactions
from redis_optimizer.signals import server_lost

__all__ = ["cached_health", "cached_status"]

V = TypeVar("V", bound=Callable[..., Any])

_MISSING: Final[Any] = object()


def cached_status(
    ttl: float | None = None,
    *,
    vary: Callable[..., Any] | None = _MISSING,
    staff_ttl: float | None = None,
    params: Iterable[str] = (),
    stale_if_error: float = 0,
) -> Callable[[V], V]:
    """Decorate a view so that its responses are kept in the process.

    The view, a function or a class, sync or async, returns a dict, a JsonResponse or an
    HttpResponse. Only responses of a status of 2xx are kept.

    Args:
        ttl: Seconds that a response is kept; None is ``REDIS_OPTIMIZER["STATUS_TTL"]``, 0 is off.
        vary: Called with the request, returns what tells apart those who get different responses,
            such as the id of their organisation. None: all get the same. May be a coroutine
            function where the view is one.
        staff_ttl: Seconds that a response may be old for staff; None is `ttl`.
        params: Names of the query parameters that the response depends on.
        stale_if_error: Seconds past its ttl for which a response is served if the view raises,
            unless that is an answer, such as Http404 or PermissionDenied.

    Raises:
        TypeError: an argument is missing, or of a wrong type.
        ValueError: a number of seconds is negative or endless.
    """
    if vary is _MISSING:
        raise TypeError(
            "cached_status needs vary: a function of the request that tells apart those who get "
            "different responses, as in cached_status(vary=lambda request: request.org.pk). "
            "vary=None says that it is public: all get the same."
        )

    def decorate(view: V) -> V:
        return _decorate(
            view,
            Rules(
                is_health=False,
                ttl=ttl,
                vary=vary,
                staff_ttl=staff_ttl,
                params=names("params", params, title(view)),
                stale_if_error=stale_if_error,
            ),
        )

    return decorate


@overload
def cached_health(view: V, /) -> V: ...
@overload
def cached_health(
    *,
    ttl: float | None = None,
    staff_ttl: float | None = None,
    failure_ttl: float | None = None,
    params: Iterable[str] = (),
) -> Callable[[V], V]: ...
def cached_health(
    view: Callable[..., Any] | None = None,
    /,
    *,
    ttl: float | None = None,
    staff_ttl: float | None = None,
    failure_ttl: float | None = None,
    params: Iterable[str] = (),
) -> Any:
    """Decorate a view that tells of the site's health, with or without parentheses.

    One response is kept for staff, and one for all others. A response of status 503 is kept for a
    shorter time. When a server is lost, no response is served any more that says that all is well.

    Args:
        view: What is decorated.
        ttl: Seconds that a response is kept; None is ``REDIS_OPTIMIZER["HEALTH_TTL"]``, 0 is off.
        staff_ttl: Seconds that staff's is; None is ``REDIS_OPTIMIZER["HEALTH_STAFF_TTL"]``.
        failure_ttl: Seconds that one of status 503 is, for anybody; None is
            ``REDIS_OPTIMIZER["HEALTH_FAILURE_TTL"]``.
        params: Names of the query parameters that the response depends on.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a number of seconds is negative or endless.
    """

    def decorate(view: V) -> V:
        rules = Rules(
            is_health=True,
            ttl=ttl,
            staff_ttl=staff_ttl,
            failure_ttl=failure_ttl,
            params=names("params", params, title(view)),
        )
        return _decorate(view, rules)

    if view is not None and not callable(view):
        raise TypeError(f"cached_health decorates a view, not {view!r}: write ttl={view!r}.")
    return decorate if view is None else decorate(view)


def _decorate(view: V, rules: Rules) -> V:
    if isinstance(getattr(getattr(view, "func", None), "__self__", None), View):
        # So says method_decorator.
        raise TypeError(
            f"{title(view)} is decorated anew for each request, so that nothing would be kept: "
            "decorate its class instead."
        )
    endpoint = Endpoint(title(view), rules)
    if rules.is_health:
        _health.add(endpoint)
    if not isinstance(view, type):
        return cast(V, _wrap(view, endpoint))
    if not issubclass(view, View):
        raise TypeError(f"{title(view)} is a class, but not a View: it cannot be decorated.")
    if rules.vary is not None and _asks_who(view):
        raise TypeError(
            f"{title(view)} asks who may see it inside of what is kept, so that those who get a "
            "kept response would not be asked. Leave out its mixins, and write "
            "login_required(...), say, around its as_view()."
        )
    view.dispatch = _wrap_dispatch(view, endpoint)  # type: ignore[method-assign]
    return view


def _wrap(view: Callable[..., Any], endpoint: Endpoint) -> Callable[..., Any]:
    if _is_async(view):

        @functools.wraps(view)
        async def acached(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            given = (*args, *kwargs.items())
            return await endpoint.aserve(lambda: view(request, *args, **kwargs), request, given)

        return acached

    transactions = Transactions(view)

    @functools.wraps(view)
    def cached(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.items())
        return endpoint.serve(lambda: transactions.run(request, *args, **kwargs), request, given)

    return transactions.mark(cached)


def _wrap_dispatch(view: type[View], endpoint: Endpoint) -> Callable[..., Any]:
    inner = view.dispatch
    if view.view_is_async:

        @functools.wraps(inner)
        async def adispatch(self: View, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            async def call() -> Any:
                result = inner(self, request, *args, **kwargs)
                # A mixin's dispatch may answer by itself, at once.
                return await result if inspect.isawaitable(result) else result

            given = (type(self), *args, *kwargs.items())
            return await endpoint.aserve(call, request, given)

        return adispatch

    transactions = Transactions(inner)

    @functools.wraps(inner)
    def dispatch(self: View, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        given = (type(self), *args, *kwargs.items())
        return endpoint.serve(
            lambda: transactions.run(self, request, *args, **kwargs), request, given
        )

    return transactions.mark(dispatch)


def _asks_who(view: type[View]) -> bool:
    # A site without users cannot import it.
    mixins = sys.modules.get("django.contrib.auth.mixins")
    return mixins is not None and issubclass(view, mixins.AccessMixin)


def _is_async(view: Any) -> bool:
    return iscoroutinefunction(view) or iscoroutinefunction(getattr(view, "__call__", None))  # noqa: B004


_health: "weakref.WeakSet[Endpoint]" = weakref.WeakSet()


def _distrust(**kwargs: object) -> None:
    for endpoint in list(_health):
        endpoint.distrust()


server_lost.connect(_distrust, dispatch_uid="redis_optimizer.decorators")
