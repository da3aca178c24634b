"""Celery's Redis result backends on fewer commands."""

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, partial
from time import monotonic
from traceback import format_exc
from typing import TYPE_CHECKING, Any, Final

from celery import states
from celery.backends.redis import RedisBackend as CeleryRedisBackend
from celery.backends.redis import SentinelBackend as CelerySentinelBackend
from celery.exceptions import BackendStoreError
from kombu.exceptions import EncodeError

from redis_optimizer.connections import result_pool
from redis_optimizer.core.limits import pass_time_limit
from redis_optimizer.switches import is_on
from redis_optimizer.tasks.results.counts import counter
from redis_optimizer.tasks.results.retention import Retention, prefix_of, retention_of
from redis_optimizer.tasks.results.script import STORE, Record, pack

if TYPE_CHECKING:
    from celery.backends.asynchronous import BaseResultConsumer as CeleryResultConsumer
else:
    CeleryResultConsumer = CeleryRedisBackend.ResultConsumer

__all__ = ["Outcome", "RedisBackend", "ResultConsumer", "SentinelBackend"]

Outcome = tuple[str, Any, str, str | None, Any]
"""The arguments of ``store_result``: task id, result, state, traceback, request."""

LOOK_AGAIN: Final = 0.5  # seconds
MAX_TEXT: Final = 512 * 1024**2  # Redis's own limit of a value
MAX_RECORDS: Final = 200  # in one call of the script: it holds up the server for about 2 ms
MAX_BYTES: Final = 4 * 1024**2  # in one call, unless a single result is larger


@dataclass
class _Storing:
    """A call of ``store_result`` that is under way in this thread or coroutine."""

    key: Any
    retention: Retention | None
    collected: list[Record] | None


_current: ContextVar[_Storing | None] = ContextVar("redis_optimizer.storing", default=None)


class ResultConsumer(CeleryResultConsumer):
    """Celery's, but it unsubscribes only from what it has subscribed to, and looks once more.

    A subscription and the read after it go over two connections: should the read come first, and
    the result between the two, nobody would tell of it.
    """

    backend: CeleryRedisBackend
    on_message: Any
    subscribed_to: set[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._again: deque[tuple[float, Any, dict[str, Any]]] = deque()

    def on_wait_for_pending(self, result: Any, timeout: float | None = None, **kwargs: Any) -> None:
        """Read what is there when somebody begins to wait for it, and once more a little later."""
        super().on_wait_for_pending(result, timeout=timeout, **kwargs)
        self._again.append((monotonic() + LOOK_AGAIN, result, {"timeout": timeout, **kwargs}))

    def drain_events(self, timeout: float | None = None) -> None:
        """Take what has been published, or wait for it."""
        with contextlib.suppress(IndexError):  # another thread takes them, too
            while self._again[0][0] <= monotonic():
                self._look_again(*self._again.popleft())
        super().drain_events(timeout)

    def _look_again(self, due: float, result: Any, kwargs: dict[str, Any]) -> None:
        if result.on_ready.ready:
            return
        listener, self.on_message = self.on_message, None  # it hears of messages, not of this
        try:
            super().on_wait_for_pending(result, **kwargs)
        finally:
            self.on_message = listener

    def cancel_for(self, task_id: str) -> None:
        """Stop listening for a result.

        Celery 5.6 sends UNSUBSCRIBE for every AsyncResult that is collected.
        """
        key = self.backend.get_key_for_task(task_id)
        if key in self.subscribed_to or not is_on("results"):
            super().cancel_for(task_id)


class RedisBackend(CeleryRedisBackend):
    """Store a result by one command, and keep the last few results of each task.

    Nothing is sent for a result when its job is sent: whoever waits for it subscribes then, before
    he reads. The rest is as in Celery's own backend: keys, values, expiry, ``get()``, groups,
    chords, retries.
    """

    app: Any
    always_retry: bool
    connection_errors: tuple[type[Exception], ...]
    expires: int | None
    ResultConsumer = ResultConsumer
    ConnectionPool = staticmethod(result_pool)

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Do not subscribe to the result of each job that is sent."""
        if not is_on("results"):
            super().on_task_call(producer, task_id)

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Store a result by one script, unless a success is stored already.

        Args and Returns as in Celery.
        """
        with self._announced((task_id, result, state, traceback, request)):
            return super().store_result(task_id, result, state, traceback, request, **kwargs)

    def store_many(self, outcomes: Iterable[Outcome]) -> dict[str, Exception]:
        """Store the results of many jobs, up to 200 by one script.

        A result that cannot be serialized, or is too large, is stored as the failure of its job;
        the others are stored all the same. A chord must be told of its parts as ever: this stores
        them, no more.

        Args:
            outcomes: ``(task_id, result, state, traceback, request)`` of each job.

        Returns:
            The errors of the results that could not be stored, by task id.
        """
        errors: dict[str, Exception] = {}
        settled: dict[Any, Outcome] = {}  # by the key of the result
        records: list[Record] = []
        for outcome in outcomes:
            task_id, _, _, _, request = outcome
            settled[self.get_key_for_task(task_id)] = outcome
            try:
                records += self._encode_one(outcome)
            except Exception as error:
                pass_time_limit(error)
                errors[task_id] = error
                if not isinstance(error, (EncodeError, BackendStoreError)):
                    continue
                failed = task_id, error, states.FAILURE, format_exc(), request
                with contextlib.suppress(Exception):  # it may be the request that cannot be encoded
                    records += self._encode_one(failed)
                    settled[self.get_key_for_task(task_id)] = failed
        for part in _split(records):
            errors |= self._store_part(part, settled)
        return errors

    def _store_part(
        self, part: Sequence[Record], settled: Mapping[Any, Outcome]
    ) -> dict[str, Exception]:
        try:
            self.ensure(self._send, (part,))
        except self.connection_errors as error:
            if not self.always_retry:
                return {settled[record.key][0]: error for record in part}
            # Each waits for as long as the settings say.
            store = [partial(self.store_result, *settled[record.key]) for record in part]
        except Exception as error:
            pass_time_limit(error)
            # One of them: those that are stored by now stay as they are.
            store = [partial(self.ensure, self._send, ([record],)) for record in part]
        else:
            return {}
        errors: dict[str, Exception] = {}
        for record, store_one in zip(part, store, strict=True):
            try:
                store_one()
            except Exception as error:
                pass_time_limit(error)
                errors[settled[record.key][0]] = error
        return errors

    def get(self, key: Any) -> Any:
        """Return what a key holds."""
        storing = _current.get()
        if storing is not None and storing.key == key:
            return None  # Celery looks for a success before it stores; the script does so itself
        return super().get(key)

    def set(self, key: Any, value: Any, expires: int | None = None, **retry_policy: Any) -> Any:
        """Store what a key shall hold.

        Args:
            key: Of a result, or of what Celery stores beside.
            value: It is published on the key, too.
            expires: Seconds; None for ``result_expires``.
            retry_policy: As in Celery.
        """
        storing = _current.get()
        if storing is None or storing.key != key:
            if expires is not None:  # Celery 5.6 does not know it
                retry_policy["expires"] = expires
            parent: Any = super()
            return parent.set(key, value, **retry_policy)
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise BackendStoreError("value too large for Redis backend")
        lifetime = self.expires if expires is None else expires
        record = Record(key, value, int(lifetime or 0), storing.retention)
        if storing.collected is not None:
            storing.collected.append(record)
            return None
        return self.ensure(self._send, ([record],), **retry_policy)

    def _encode_one(self, outcome: Outcome) -> list[Record]:
        records: list[Record] = []
        with self._announced(outcome, records):
            super().store_result(*outcome)
        return records

    @contextlib.contextmanager
    def _announced(self, outcome: Outcome, collected: list[Record] | None = None) -> Iterator[None]:
        """Tell `get` and `set`, which Celery's ``store_result`` calls, what is being stored."""
        if not is_on("results"):
            yield
            return
        task_id, _, state, _, request = outcome
        storing = _Storing(
            self.get_key_for_task(task_id), retention_of(self.app, state, request), collected
        )
        token = _current.set(storing)
        try:
            yield
        finally:
            _current.reset(token)

    @cached_property
    def _script(self) -> Any:
        return self.client.register_script(STORE)

    def _send(self, records: Sequence[Record]) -> None:
        unreadable: Exception | None = None
        while records:
            stored, pruned, undecided = self._script(*pack(records, prefix_of(self)))
            counter.stored += stored
            counter.pruned += pruned
            left: list[Record] = []
            for number, found, digest in undecided:
                try:
                    is_success = found and self.decode(found)["status"] == states.SUCCESS
                except Exception as error:  # it may be a success: it stays, and the others go on
                    unreadable = error
                    continue
                if not is_success:
                    left.append(records[number - 1]._replace(replaces=digest))
            records = left
        if unreadable is not None:
            raise unreadable  # as with Celery's own


class SentinelBackend(RedisBackend, CelerySentinelBackend):
    """The same, with the primary found by Sentinel."""


def _split(records: Sequence[Record]) -> Iterator[list[Record]]:
    part: list[Record] = []
    size = 0
    for record in records:
        if part and (len(part) == MAX_RECORDS or size + len(record.value) > MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(record)
        size += len(record.value)
    if part:
        yield part
