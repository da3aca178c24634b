"""A view whose responses are kept: from the request to the key, and from the view to the answer."""

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Final, NamedTuple

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

from redis_optimizer.conf import Settings, get_settings
from redis_optimizer.core.keep import Keeper
from redis_optimizer.core.kept import Found, Made
from redis_optimizer.decorators.answer import CACHE_CONTROL, Answer, stamp
from redis_optimizer.decorators.asking import (
    Key,
    check_vary,
    hashable,
    key_size,
    noting,
    request_key,
    wants_refresh,
)
from redis_optimizer.decorators.headers import AUTHORIZATION, Headers
from redis_optimizer.decorators.personal import AUDIENCE, NOTHING, Watch
from redis_optimizer.decorators.returned import as_response, is_failure, is_own, listed
from redis_optimizer.decorators.rules import Rules, Terms
from redis_optimizer.decorators.shelf import shelf
from redis_optimizer.health.audience import (
    Audience,
    aaudience,
    audience,
    forget_caller,
    session_spared,
)
from redis_optimizer.stats.endpoints import counts_of
from redis_optimizer.switches import is_on

__all__ = ["Endpoint"]

KEPT_METHODS: Final = frozenset({"GET", "HEAD"})

logger: Final = logging.getLogger("redis_optimizer.decorators")


class Own(NamedTuple):
    """What came of a run that is for its caller alone: a response, or an error."""

    response: HttpResponseBase | None
    error: Exception | None = None


AGAIN: Final = Own(None)
"""Nothing came of it: meanwhile it was learnt that the key does not tell enough."""


class Asked(NamedTuple):
    """A key: requests of which all of this is equal get the same response."""

    endpoint: "Endpoint"
    given: Key
    request: Key
    vary: Any
    is_staff: bool
    headers: Key


class Endpoint:
    """One decorated view.

    Args:
        name: Of the view, as messages call it.
        rules: What its decorator was told.
    """

    def __init__(self, name: str, rules: Rules) -> None:
        rules.check(name)
        self.name = name
        self.rules = rules
        self.keeper: Keeper[Answer | Own] = Keeper(
            shelf,
            name=name,
            stale_for=rules.stale_if_error,
            excuses=is_failure,
            believes=self._believes,
        )
        self.counts = counts_of(name)
        self._settings: Settings | None = None
        self._terms = Terms(0, 0, 0)
        # Where nobody says who gets the same, that is not read unnoticed.
        self._headers = Headers(AUTHORIZATION) if rules.vary is None else Headers()
        # Another one after each loss. Not a time: who begins at that moment may see it either way.
        self._trust = object()
        self._has_warned = False

    def distrust(self) -> None:
        """Serve nothing that says that all is well and was begun before now."""
        self._trust = object()

    def serve(
        self, call: Callable[[], Any], request: HttpRequest, given: tuple[Any, ...] = ()
    ) -> HttpResponseBase:
        """Return the response to a request, kept or made.

        Args:
            call: Runs the view.
            request: The request.
            given: What else tells calls for one path apart: the view's arguments, mostly.
        """
        started = perf_counter()
        terms = self._terms_now(request)
        if terms is None:
            return self._pass_on(request, call(), started)
        part = hashable(given, self.name)
        vary = None if self.rules.vary is None else self._vary(request, self.rules.vary)
        refresh = wants_refresh(request)
        is_staff = self._asks_who(refresh) and audience(request) is Audience.STAFF
        found = None
        while found is None or self._is_out_of_date(found):
            key = self._key(request, part, vary, is_staff)
            found = self.keeper.get(
                key,
                functools.partial(self._make, call, request, key, terms),
                max_age=terms.staff_ttl if is_staff else terms.ttl,
                now=refresh and is_staff,
            )
        return self._respond(found, request, started)

    async def aserve(
        self, call: Callable[[], Awaitable[Any]], request: HttpRequest, given: tuple[Any, ...] = ()
    ) -> HttpResponseBase:
        """Do as `serve`, for a view that is a coroutine function."""
        started = perf_counter()
        terms = self._terms_now(request)
        if terms is None:
            return self._pass_on(request, await call(), started)
        part = hashable(given, self.name)
        vary = None if self.rules.vary is None else await self._avary(request, self.rules.vary)
        refresh = wants_refresh(request)
        is_staff = self._asks_who(refresh) and await aaudience(request) is Audience.STAFF
        found = None
        while found is None or self._is_out_of_date(found):
            key = self._key(request, part, vary, is_staff)
            found = await self.keeper.aget(
                key,
                functools.partial(self._amake, call, request, key, terms),
                max_age=terms.staff_ttl if is_staff else terms.ttl,
                now=refresh and is_staff,
            )
        return self._respond(found, request, started)

    # Asking

    def _terms_now(self, request: HttpRequest) -> Terms | None:
        """Return how long responses are served, or None where the view is to run."""
        if not isinstance(request, HttpRequest):
            raise TypeError(
                f"{self.name} got a {type(request).__name__} instead of an HttpRequest: the "
                "decorator belongs outside of those that wrap the request. On a method, decorate "
                "its class instead."
            )
        settings = get_settings()
        if settings is not self._settings:
            self._terms = self.rules.terms(settings)
            self._settings = settings
        serves = self._terms.ttl and request.method in KEPT_METHODS and is_on("endpoints")
        return self._terms if serves else None

    def _vary(self, request: HttpRequest, vary: Callable[..., Any]) -> Any:
        try:
            with session_spared(request):
                value = vary(request)
        except Exception as error:
            noting(error, self.name)
            raise
        return check_vary(value, self.name)

    async def _avary(self, request: HttpRequest, vary: Callable[..., Any]) -> Any:
        try:
            with session_spared(request):
                value = vary(request)
                if inspect.isawaitable(value):
                    value = await value
        except Exception as error:
            noting(error, self.name)
            raise
        return check_vary(value, self.name)

    def _asks_who(self, refresh: bool) -> bool:
        return refresh or self.rules.is_health or self.rules.staff_ttl is not None

    def _key(self, request: HttpRequest, given: Key, vary: Any, is_staff: bool) -> Asked:
        return Asked(
            self,
            given,
            request_key(request, self.rules.params),
            vary,
            self.rules.is_health and is_staff,
            self._headers.values(request),
        )

    # Running the view

    def _make(
        self, call: Callable[[], Any], request: HttpRequest, key: Asked, terms: Terms
    ) -> Made[Answer | Own]:
        if self._headers.are_newer(key.headers):
            return Made(AGAIN, 0, is_shared=False)
        trust = self._trust
        watch = Watch(request, self._allowed(), is_staff=key.is_staff)
        try:
            with watch:
                response: Any = as_response(call(), self.name)
                if callable(getattr(response, "render", None)):
                    response = response.render()
        except Exception as error:
            return self._judge_error(error, request, watch)
        return self._judge(response, request, key, terms, watch, trust)

    async def _amake(
        self, call: Callable[[], Awaitable[Any]], request: HttpRequest, key: Asked, terms: Terms
    ) -> Made[Answer | Own]:
        if self._headers.are_newer(key.headers):
            return Made(AGAIN, 0, is_shared=False)
        trust = self._trust
        watch = Watch(request, self._allowed(), is_staff=key.is_staff)
        try:
            with watch:
                response: Any = as_response(await call(), self.name)
                if callable(getattr(response, "render", None)):
                    # As Django does it: templates may query.
                    response = await sync_to_async(response.render, thread_sensitive=True)()
        except Exception as error:
            return self._judge_error(error, request, watch)
        return self._judge(response, request, key, terms, watch, trust)

    def _allowed(self) -> frozenset[str] | None:
        """Return what of the user the view may read; None: all."""
        if self.rules.is_health:
            return AUDIENCE
        return NOTHING if self.rules.vary is None else None

    # Judging what it returned

    def _judge_error(
        self, error: Exception, request: HttpRequest, watch: Watch
    ) -> Made[Answer | Own]:
        if self._is_personal(request, watch):  # it may be the error of this user alone
            self._warn(watch)
            return Made(Own(None, error), 0, is_shared=False)
        raise error

    def _judge(
        self,
        response: HttpResponseBase,
        request: HttpRequest,
        key: Asked,
        terms: Terms,
        watch: Watch,
        trust: object,
    ) -> Made[Answer | Own]:
        own: Made[Answer | Own] = Made(Own(response), 0, is_shared=False)
        if self._is_personal(request, watch) or watch.changed:
            self._warn(watch)
            return own
        varies = listed(response, "Vary")
        is_for_all = self.rules.is_for_all
        if not isinstance(response, HttpResponse) or is_own(response, varies, is_for_all):
            return own
        varies.discard("cookie")
        if not self._headers.learn(varies):
            return own
        where = None
        if self._headers.are_newer(key.headers):
            # Who waits for it may not be one who gets the same, and looks again.
            where = key._replace(headers=self._headers.values(request))
        added = () if is_for_all else ("Cookie",)
        size = key_size(request) + self._headers.size(request)
        answer = Answer(response, trust, added, size)
        fresh_for = 0.0
        if answer.is_good:
            fresh_for = max(terms.ttl, terms.staff_ttl)
        elif answer.status == 503 and self.rules.is_health:
            fresh_for = terms.failure_ttl
        return Made(answer, fresh_for, is_shared=where is None, key=where)

    def _is_personal(self, request: HttpRequest, watch: Watch) -> bool:
        if watch.is_mistaken:
            forget_caller(request)
        return bool(watch.read or watch.is_mistaken)

    def _warn(self, watch: Watch) -> None:
        if (watch.read or watch.changed) and not self._has_warned:
            self._has_warned = True
            logger.warning("%s %s: what it returns is not kept.", self.name, watch.why())

    def _believes(self, value: Answer | Own) -> bool:
        return isinstance(value, Answer) and (not value.is_good or value.trust is self._trust)

    def _is_out_of_date(self, found: Found[Answer | Own]) -> bool:
        # Who joined a run may have come after the loss that it began before.
        return found.value is AGAIN or (found.is_joined and not self._believes(found.value))

    # Responding

    def _respond(
        self, found: Found[Answer | Own], request: HttpRequest, started: float
    ) -> HttpResponseBase:
        value = found.value
        self.counts.add(found.state, joined=found.is_joined)
        if isinstance(value, Answer):
            return value.respond(request, found.state, found.age, started)
        if value.error is not None:
            raise value.error
        response: Any = value.response
        response.headers.setdefault("Cache-Control", CACHE_CONTROL)
        stamp(response, found.state.value, started)
        return response  # type: ignore[no-any-return]

    def _pass_on(self, request: HttpRequest, result: Any, started: float) -> HttpResponseBase:
        if request.method not in KEPT_METHODS:
            return (
                JsonResponse(result) if isinstance(result, dict) else as_response(result, self.name)
            )
        response = as_response(result, self.name)
        stamp(response, "off", started)
        return response
