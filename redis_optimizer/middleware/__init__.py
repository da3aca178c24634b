"""The middleware: what a request sends leaves together, and what it costs is known."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import django
from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from redis_optimizer.conf import Settings, get_settings
from redis_optimizer.middleware import live, streams
from redis_optimizer.middleware.watch import Watch
from redis_optimizer.switches import is_on

__all__ = ["RedisOptimizerMiddleware"]

ENDPOINTS: Final = "redis_optimizer"
"""The `app_name` of the package's URLs."""


class RedisOptimizerMiddleware:
    """Collect the jobs of a request, count its view, answer ``live/``. Put it first.

    Ordinary tasks, and batched ones with `flush_on_response`, leave in one command for each queue
    before the response does; other batched tasks go on waiting for more of their kind. What a
    response sends while it streams leaves when it ends.

    Staff, and everybody with DEBUG, find in the headers how long the request took
    (``X-Response-Time``, in milliseconds) and what it cost (``Server-Timing``).
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        if django.VERSION < (6, 0):
            self.process_view = _aanswer_endpoint if self.is_async else _answer_endpoint

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self.__acall__(request)
        if live.is_live(request):
            return live.answer(request)
        settings = get_settings()
        if not settings.ENABLED:
            return self.get_response(request)  # type: ignore[no-any-return]
        watch = Watch(request)
        try:
            if _collects(settings):
                with _batch():
                    response = self.get_response(request)
                streams.collect(response)
            else:
                response = self.get_response(request)
        except BaseException as error:
            watch.end(None, failed=isinstance(error, Exception))
            raise
        watch.end(response)
        return response  # type: ignore[no-any-return]

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """Do the same for a request that is served asynchronously."""
        if live.is_live(request):
            return live.answer(request)
        settings = get_settings()
        if not settings.ENABLED:
            return await self.get_response(request)  # type: ignore[no-any-return]
        watch = Watch(request)
        try:
            if _collects(settings):
                async with _batch():
                    response = await self.get_response(request)
                streams.collect(response)
            else:
                response = await self.get_response(request)
        except BaseException as error:
            watch.end(None, failed=isinstance(error, Exception))
            raise
        watch.end(response)
        return response  # type: ignore[no-any-return]


def _answer_endpoint(
    request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
) -> HttpResponseBase | None:
    """Call the view of an endpoint before LoginRequiredMiddleware is asked.

    Until Django 6.0 that loads the user before it looks whether a view needs one.
    """
    match = request.resolver_match
    if match is None or match.app_names[-1:] != [ENDPOINTS]:
        return None
    return view(request, *args, **kwargs)  # type: ignore[no-any-return]


async def _aanswer_endpoint(
    request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
) -> HttpResponseBase | None:
    # A coroutine function, for Django would call another in a thread, for each request.
    match = request.resolver_match
    if match is None or match.app_names[-1:] != [ENDPOINTS]:
        return None
    # So the views of endpoints are called, which are no coroutine functions.
    response: HttpResponseBase = await sync_to_async(view)(request, *args, **kwargs)
    return response


def _collects(settings: Settings) -> bool:
    # A site without Celery need not load it.
    return "celery" in sys.modules and settings.BATCH_REQUESTS and is_on("batching")


def _batch() -> Any:
    from redis_optimizer.tasks.block import Batch

    return Batch(is_request=True)
