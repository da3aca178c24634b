"""The middleware: the jobs that a request sends leave together, when the view has returned."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from redis_optimizer.conf import get_settings

__all__ = ["RedisOptimizerMiddleware"]


class RedisOptimizerMiddleware:
    """Collect the jobs that a request sends. Put it first in ``MIDDLEWARE``.

    Ordinary tasks, and batched ones with `flush_on_response`, leave in one command for each queue
    before the response does; other batched tasks go on waiting for more of their kind. What a
    streaming response sends while it streams is sent at once.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self.__acall__(request)
        if not _collects():
            return self.get_response(request)  # type: ignore[no-any-return]
        with _batch():
            return self.get_response(request)  # type: ignore[no-any-return]

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """Do the same for a request that is served asynchronously."""
        if not _collects():
            return await self.get_response(request)  # type: ignore[no-any-return]
        async with _batch():
            return await self.get_response(request)  # type: ignore[no-any-return]


def _collects() -> bool:
    # A site without Celery need not load it.
    return "celery" in sys.modules and get_settings().BATCH_REQUESTS


def _batch() -> Any:
    from redis_optimizer.tasks.block import Batch

    return Batch(is_request=True)
