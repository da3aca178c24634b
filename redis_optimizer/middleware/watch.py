"""How long a request took and what it cost: for the counts of its view, and for who may see it."""

from time import perf_counter
from typing import Any, Final

from django.conf import settings
from django.core.signals import got_request_exception
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from redis_optimizer.cache.measured import measured
from redis_optimizer.health.audience import is_staff_known
from redis_optimizer.stats.costs import Costs
from redis_optimizer.stats.views import NO_VIEW, counter

__all__ = ["Watch"]

_FAILED: Final = "_redis_optimizer_failed"


class Watch:
    """Watch one request, from its creation until `end`.

    It is measured where somebody may see the outcome: with DEBUG, or with a session. Whether that
    is staff is not known before the end.

    Args:
        request: The request.
    """

    __slots__ = ("_began", "_costs", "_measuring", "_request")

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._costs: Costs | None = None
        # In the raw header: parsing cookies takes longer than everything else here.
        if settings.SESSION_COOKIE_NAME in request.META.get("HTTP_COOKIE", "") or settings.DEBUG:
            self._costs = Costs()
            self._measuring = measured(self._costs)
            self._measuring.__enter__()
        self._began = perf_counter()

    def end(self, response: HttpResponseBase | None, *, failed: bool = False) -> None:
        """Count the request, and tell who may see it what it cost.

        Args:
            response: Its response; None when there is none.
            failed: An exception came instead.
        """
        seconds = perf_counter() - self._began
        costs, request = self._costs, self._request
        if costs is not None:
            self._measuring.__exit__(None, None, None)
        match = request.resolver_match
        counter.count(
            match.view_name if match is not None else NO_VIEW,
            response.status_code if response is not None else None,
            seconds,
            failed=failed or _FAILED in request.__dict__,
            costs=costs,
        )
        if costs is not None and response is not None and _may_see(request):
            show(response, seconds, costs)


def show(response: HttpResponseBase, seconds: float, costs: Costs) -> None:
    """Put into the headers what a request cost; what the view has put there stays.

    Args:
        response: The response.
        seconds: How long it took.
        costs: What was measured.
    """
    if not response.has_header("X-Response-Time"):
        response["X-Response-Time"] = f"{seconds * 1000:.1f}"
    parts = [response["Server-Timing"]] if response.has_header("Server-Timing") else []
    parts.append(f"app;dur={seconds * 1000:.1f}")
    if costs.hits:
        parts.append(f'l1;desc="{_plural(costs.hits, "hit")}"')
    if costs.trips:
        parts.append(_metric("l2", costs.seconds, _plural(costs.trips, "round trip")))
    if costs.checks:
        parts.append(_metric("checks", costs.check_seconds, _plural(costs.checks, "check")))
    response["Server-Timing"] = ", ".join(parts)


def _metric(name: str, seconds: float, description: str) -> str:
    return f'{name};dur={seconds * 1000:.1f};desc="{description}"'


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _may_see(request: HttpRequest) -> bool:
    return settings.DEBUG or is_staff_known(request)


def _note_failure(request: Any = None, **kwargs: object) -> None:
    # By the time a response comes to us, what the view raised has become a page.
    if request is not None:
        request.__dict__[_FAILED] = True


got_request_exception.connect(_note_failure, dispatch_uid="redis_optimizer.middleware")
