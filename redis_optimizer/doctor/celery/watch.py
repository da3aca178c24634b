"""Gather what can be seen of jobs: hear what workers say while the servers are watched."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from redis_optimizer.connections import channel_connection, handshake_of
from redis_optimizer.doctor.celery.evidence import Broker, Kept, Taken, Worker
from redis_optimizer.doctor.celery.measures import redis_backend
from redis_optimizer.doctor.evidence import explain
from redis_optimizer.doctor.places import TIMEOUT
from redis_optimizer.tasks.asking import asking, is_redis
from redis_optimizer.tasks.events import Ear, hearing, listeners
from redis_optimizer.tasks.heartbeat import alive
from redis_optimizer.tasks.lists import Lists

__all__ = ["Watch", "watching"]

MOST_TAKEN: Final = 200
"""Unacknowledged messages that are read; each may be large."""

MOST_KEPT: Final = 50
"""Results that are looked at: two commands each."""

PAGES: Final = 10
PAGE: Final = 1_000
"""Keys that SCAN goes through at a time; other things may be in the database, too."""

OLD: Final = 60
"""Seconds after which a result that somebody waits for has been read."""

TOLERANCE: Final = 3
"""Seconds by which the server's clock of accesses and its lifetimes may differ."""

LOOKS: Final = 3
"""Commands that tell what workers do: SSCAN, ZCOUNT, HSCAN. The two scans may take more of them."""

_FAILURES: Final = (OperationalError, RedisError, OSError)


class Watch:
    """What is being watched, until somebody asks.

    Args:
        app: The Celery app.
        unknown: What cannot be looked at is added to it.
        now: Clock in seconds; must be monotonic.
    """

    def __init__(
        self, app: Celery, unknown: list[str], now: Callable[[], float] = time.monotonic
    ) -> None:
        self.commands = 0
        """What the watch cost so far."""
        self._app = app
        self._unknown = unknown
        self._now = now
        self._lists: Lists | None = None
        self._ear: Ear | None = None

    def listen(self, stack: ExitStack) -> None:
        """Begin to hear events.

        Args:
            stack: Ends it.

        Raises:
            Exception: when the broker cannot be reached, or refuses.
        """
        self._began = self._now()
        self._lists = stack.enter_context(asking(self._app, TIMEOUT))
        # It has been answered a PING by now.
        self.commands += handshake_of(self._lists.client.connection_pool) + 2
        exchange = self._app.conf.event_exchange
        self._ear = stack.enter_context(hearing(self._lists, exchange, TIMEOUT))

    def cannot(self, setting: str, what: str, error: Exception) -> None:
        """Note what cannot be looked at, unless the server of that setting is known to be away."""
        if not any(each.startswith(f"{setting}:") for each in self._unknown):
            self._unknown.append(f"{what}: {explain(error)}")

    def broker(self) -> Broker | None:
        """Return what was heard and can be seen at the broker; None where nobody could look."""
        if self._lists is None:
            return None
        seconds = self._now() - self._began
        try:
            messages = self._ear.read() if self._ear else []
            # The connection that hears can do nothing else: so there is another.
            self.commands += handshake_of(self._lists.client.connection_pool) if self._ear else 0
            monitors, gossips = listeners(self._lists, self._app.conf.event_exchange)
            equipped = alive(self._app, self._lists.client)
            due = list(self._lists.due(MOST_TAKEN))
            taken = tuple(self._taken(due)) if due else ()
        except _FAILURES as error:
            self.cannot("broker_url", "what workers do", error)
            return None
        self.commands += LOOKS
        beats = [each for events in messages for each in events if "freq" in each]
        return Broker(
            database=int(self._lists.client.connection_pool.connection_kwargs.get("db") or 0),
            workers=tuple({worker.name: worker for worker in map(_worker, beats)}.values()),
            events=sum(_tells_of_jobs(events) for events in messages),
            seconds=seconds,
            monitors=monitors,
            gossips=gossips,
            equipped=equipped,
            due=taken,
        )

    def _taken(self, due: list[tuple[bytes, str, str]]) -> Iterator[Taken]:
        lists: Any = self._lists
        tags: Any = [tag for tag, _, _ in due]
        self.commands += 1
        scores = lists.client.zmscore(lists.received_key, tags)
        for (_, task, eta), received in zip(due, scores, strict=True):
            try:
                at = datetime.fromisoformat(eta)
            except ValueError:
                continue
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            yield Taken(task=task, wait=at.timestamp() - (received or time.time()))

    def kept(self) -> Kept | None:
        """Return what can be seen of the results; None where they are elsewhere."""
        try:
            backend = redis_backend(self._app)
            if backend is None:
                return None
            return self._look_at(backend)
        except Exception as error:  # a backend that cannot be made may raise anything
            self.cannot("result_backend", "what results there are", error)
            return None

    def _look_at(self, backend: Any) -> Kept:
        pool = backend.client.connection_pool
        options = pool.connection_kwargs
        connection = channel_connection(pool, protocol=2, timeout=TIMEOUT)
        self.commands += bool(options.get("password") or options.get("credential_provider"))

        def ask(*commands: tuple[Any, ...]) -> list[Any]:
            self.commands += len(commands)
            for command in commands:
                connection.send_command(*command, check_health=False)
            return [connection.read_response(disconnect_on_error=False) for _ in commands]

        try:
            if database := options.get("db"):
                ask(("SELECT", database))
            return _kept(ask, backend)
        finally:
            connection.disconnect()


@contextmanager
def watching(
    app: Celery, unknown: list[str], now: Callable[[], float] = time.monotonic
) -> Iterator[Watch]:
    """Hear what workers say from here on.

    Args:
        app: The Celery app.
        unknown: What cannot be looked at is added to it.
        now: Clock in seconds; must be monotonic.
    """
    try:
        app.loader.import_default_modules()  # as a worker does: else a site's tasks may be unknown
    except Exception as error:  # whatever a module of the site raises
        unknown.append(f"the tasks of the site: {explain(error)}")
    watch = Watch(app, unknown, now)
    with ExitStack() as stack:
        try:
            if is_redis(app):
                watch.listen(stack)
        except Exception as error:  # a transport that is not installed, a bad URL, an ACL
            watch.cannot("broker_url", "the events of workers", error)
        yield watch


def _worker(event: Any) -> Worker:
    return Worker(
        name=str(event.get("hostname", "")),
        every=float(event["freq"] or 0) or 2.0,
    )


def _tells_of_jobs(events: list[Any]) -> bool:
    return any(str(event.get("type", "")).startswith("task-") for event in events)


def _kept(ask: Any, backend: Any) -> Kept:
    keys = _keys(ask, backend)
    lifetimes = ask(*(("TTL", key) for key in keys))
    idle = ask(*(("OBJECT", "IDLETIME", key) for key in keys))
    lasts = backend.expires or 0
    ages = [
        (lasts - left, unused)
        for left, unused in zip(lifetimes, idle, strict=True)
        if left >= 0 and lasts - left >= OLD and unused is not None
    ]
    return Kept(
        seen=len(keys),
        old=len(ages),
        unread=sum(unused >= age - TOLERANCE for age, unused in ages),
        endless=sum(left == -1 for left in lifetimes),
    )


def _keys(ask: Any, backend: Any) -> list[Any]:
    prefix = backend.task_keyprefix
    pattern = (prefix if isinstance(prefix, bytes) else prefix.encode()) + b"*"
    keys: list[Any] = []
    cursor: Any = 0
    for _ in range(PAGES):
        ((cursor, found),) = ask(("SCAN", cursor, "MATCH", pattern, "COUNT", PAGE))
        keys += found
        if len(keys) >= MOST_KEPT or not int(cursor):
            break
    return keys[:MOST_KEPT]
