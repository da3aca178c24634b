"""``batch()``: what is called for inside leaves together when it ends."""

import contextlib
import functools
import inspect
import itertools
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from math import inf
from types import TracebackType
from typing import Any, Final, TypeVar, overload
from weakref import WeakSet

from asgiref.sync import sync_to_async
from celery import Celery, current_app
from celery.app import app_or_default

from redis_optimizer.conf import get_settings
from redis_optimizer.switches import is_on
from redis_optimizer.tasks import batching
from redis_optimizer.tasks.handles import install_results
from redis_optimizer.tasks.kinds import Kind
from redis_optimizer.tasks.kombu.capture import Capture
from redis_optimizer.tasks.message import Message

__all__ = ["Batch", "Steps", "batch", "current"]

F = TypeVar("F", bound=Callable[..., Any])

_ids: Final = itertools.count(1)
_installed: Final[WeakSet[Celery]] = WeakSet()


class Block:
    """What one outermost ``batch()`` has seen.

    Args:
        app: Whose ordinary messages it collects.
        is_request: It is a request, which sends at its end what must not wait, and no more.
        timeout: Seconds that an ordinary message waits at most.
    """

    def __init__(self, app: Celery, *, is_request: bool, timeout: float = inf) -> None:
        self.id = next(_ids)
        self.app = app
        self.is_request = is_request
        self.timeout = timeout
        self.is_open = True
        self.has_messages = False
        self.kinds: set[Kind] = set()

    def collect(self, message: Message) -> None:
        """Take a message of an ordinary task."""
        self.has_messages = True
        batching.collect(self.app, self.id, message, self.timeout)
        if not self.is_open:  # it has ended meanwhile, in another thread
            self._send_messages()

    def touch(self, kind: Kind, *, flush_on_response: bool) -> None:
        """Note that a job of a kind was called for, which may have to leave at the end."""
        if flush_on_response or not self.is_request:
            self.kinds.add(kind)

    def close(self, *, wait: bool = True) -> None:
        """Send what was collected and what was touched.

        Args:
            wait: False leaves it to the thread of the outbox, for a caller that must not block.
        """
        self.is_open = False
        if self.has_messages:
            self._send_messages(wait=wait)
        if self.kinds:
            batching.outbox().flush(self.kinds, wait=wait)

    def _send_messages(self, *, wait: bool = True) -> None:
        batching.outbox().flush([Kind(self.app, block=self.id)], wait=wait)


_block: ContextVar[Block | None] = ContextVar("redis_optimizer.block", default=None)


def current() -> Block | None:
    """Return the block that is open here, if any."""
    block = _block.get()
    return block if block is not None and block.is_open else None


class Batch:
    """The context manager that `batch` returns, for one block; it also decorates."""

    def __init__(self, app: Celery | None = None, *, is_request: bool = False) -> None:
        self._app = app
        self._is_request = is_request
        self._block: Block | None = None
        self._token: Token[Block | None] | None = None

    def __call__(self, function: F) -> F:
        """Decorate a function or a coroutine function."""
        return batch(function, app=self._app)

    def __enter__(self) -> "Batch":
        if self._block is not None:
            raise RuntimeError("A batch() is entered once: call batch() for each block.")
        # Inside another, the outermost sends; switched off, everything is sent as ever.
        if current() is None and is_on(batching.PART):
            app = _unwrap(self._app)
            _install(app)
            self._block = Block(app, is_request=self._is_request)
            self._token = _block.set(self._block)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if block := self._leave():
            block.close()

    async def __aenter__(self) -> "Batch":
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if block := self._leave():
            try:
                await sync_to_async(block.close, thread_sensitive=False)()
            except BaseException:
                # Who is cancelled while all threads are busy takes that call out of their queue,
                # and a loop that ends has no thread for it: what is here must leave all the same.
                block.close(wait=False)
                raise

    def _leave(self) -> Block | None:
        block, self._block = self._block, None
        if block is None or self._token is None:
            return None
        block.is_open = False
        with contextlib.suppress(ValueError):  # left in another context than it was entered in
            _block.reset(self._token)
        return block if block.kinds or block.has_messages else None


class Steps:
    """A request's batch for what is done in steps: a response that streams.

    Each step is entered and left by itself, in whatever thread or task it is taken, so that nothing
    stays in a context between two of them. A stream may go on for hours: what it sends waits for
    BATCH_TIMEOUT seconds at most.
    """

    def __init__(self) -> None:
        app = _unwrap(None)
        _install(app)
        self._block = Block(app, is_request=True, timeout=get_settings().BATCH_TIMEOUT)

    @property
    def holds(self) -> bool:
        """Tell whether there may be something to send at the end."""
        return self._block.has_messages or bool(self._block.kinds)

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Collect what is called for inside."""
        token = None if current() is not None else _block.set(self._block)  # the outermost sends
        try:
            yield
        finally:
            if token is not None:
                with contextlib.suppress(ValueError):  # a coroutine that nobody awaited to its end
                    _block.reset(token)

    def close(self) -> None:
        """Send what was collected. What is called for later is sent at once."""
        self._block.close()


@overload
def batch(function: F) -> F: ...
@overload
def batch(function: None = None, *, app: Celery | None = None) -> Batch: ...
@overload
def batch(function: F, *, app: Celery | None) -> F: ...
def batch(function: F | None = None, *, app: Celery | None = None) -> F | Batch:
    """Send what is called for in a block together, when the block ends.

    It is a context manager (``with batch():``), an asynchronous one (``async with batch():``) and
    a decorator (``@batch``) of functions and coroutine functions. Ordinary tasks leave with one
    command for each queue, tasks with a `batch_size` in their envelopes. Inside another block it
    does nothing: the outermost sends. An exception does not lose what was called for before it.
    When the broker cannot be reached, the jobs are kept and sent later: the block raises nothing.

    Args:
        function: What to decorate.
        app: Whose tasks; the current app's by default.

    Raises:
        TypeError: for a generator function.
    """
    if function is None:
        return Batch(app)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("batch() cannot decorate a generator: its body runs when it is iterated.")
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def with_batch(*args: Any, **kwargs: Any) -> Any:
            async with Batch(app):
                return await function(*args, **kwargs)
    else:

        @functools.wraps(function)
        def with_batch(*args: Any, **kwargs: Any) -> Any:
            with Batch(app):
                return function(*args, **kwargs)

    return with_batch  # type: ignore[return-value]  # it takes what the function takes


def _unwrap(app: Celery | None) -> Celery:
    """Return an app itself, where `celery.current_app` is a proxy of it."""
    return app_or_default(None if app is current_app else app)


def _install(app: Celery) -> None:
    """Let an app ask for its producer here: the one place that every message of Celery passes."""
    if app in _installed:
        return
    _installed.add(app)
    acquire = app.producer_or_acquire

    def producer_or_acquire(producer: Any = None) -> Any:
        block = current()
        if producer is not None or block is None or block.app is not app:
            return acquire(producer)
        if not is_on(batching.PART):  # switched off inside the block
            batching.flush_all()  # what was called for before
            return acquire(producer)
        return Capture(block.app, block.collect)

    app.producer_or_acquire = producer_or_acquire  # type: ignore[method-assign]
    install_results(app)
