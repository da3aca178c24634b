"""A feed of jobs whose consumer, broker and clock are the test's own."""

import heapq
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from kombu.message import Message as ReceivedMessage

from redis_optimizer.tasks import feed as module
from redis_optimizer.tasks import hold, opened, progress, records
from redis_optimizer.tasks.feed import Feed
from redis_optimizer.tasks.message import Message
from redis_optimizer.tasks.opened import JobMessage, OpenEnvelope, Unit
from redis_optimizer.tasks.packed import Jobs, pack


class Timer:
    """Callbacks that are due when the test says so."""

    def __init__(self) -> None:
        self.entries: list[tuple[float, int, Callable[..., Any], Sequence[Any]]] = []

    def call_after(self, seconds: float, fun: Callable[..., Any], args: Sequence[Any] = ()) -> None:
        heapq.heappush(self.entries, (seconds, len(self.entries), fun, args))

    def fire(self) -> None:
        entries, self.entries = self.entries, []
        for _, _, fun, args in entries:
            fun(*args)


class Stage:
    """A feed with a consumer that only keeps what it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, processes: int = 2) -> None:
        self.soon: list[Callable[[], Any]] = []
        self.sent: list[str] = []
        self.acknowledged: list[str] = []
        self.records: list[dict[str, bytes]] = []
        self.forgotten: list[str] = []
        self.started: list[tuple[str, int]] = []
        self.jobs: dict[tuple[str, int], JobMessage] = {}
        self.inline = False
        self.broken = False
        self.send_hook: Callable[[Celery, Sequence[Message]], None] | None = None
        self.error: Exception = OperationalError("down")
        self.now = 1000.0
        self.timer = Timer()
        self.queues = ["celery", "celery.batches"]
        cycle = SimpleNamespace(consume=lambda count: self.queues[:count])
        self.channel = SimpleNamespace(no_ack_consumers=None, brpop_timeout=4, _queue_cycle=cycle)
        self.pool = SimpleNamespace(num_processes=processes, is_green=False)
        consumer = SimpleNamespace(
            app=Celery("feed", set_as_current=False),
            pool=self.pool,
            hub=object(),
            timer=self.timer,
            call_soon=self.soon.append,
            connection_errors=(),
        )
        self.feed = Feed(consumer, self.start)
        for each in (module, records, hold, opened):
            monkeypatch.setattr(each, "monotonic", lambda: self.now)
        monkeypatch.setattr(module, "send", self.send)
        monkeypatch.setattr(progress, "save", lambda app, saved: self.save(saved))
        monkeypatch.setattr(progress, "forget", lambda app, ids: self.forget(ids))

    def save(self, records: dict[str, bytes]) -> None:
        if self.broken:
            raise self.error
        self.records.append(records)

    def forget(self, identities: Sequence[str]) -> None:
        if self.broken:
            raise self.error
        self.forgotten.extend(identities)

    def send(self, app: Celery, messages: Sequence[Message]) -> None:
        if self.send_hook:
            self.send_hook(app, messages)
        if self.broken:
            raise self.error
        self.sent.extend(message.id for message in messages)

    def start(self, unit: Unit) -> None:
        for index in unit.indexes:
            key = (unit.envelope.id, index)
            self.started.append(key)
            self.jobs[key] = JobMessage(unit, index, self.feed.finish, self.feed.requeue)
            if self.inline:
                self.jobs[key].ack()

    def open(
        self,
        name: str,
        size: int,
        priority: int = 0,
        lane: str = "",
        together: bool = False,
        shares: bool = False,
    ) -> OpenEnvelope:
        jobs = [
            Message(
                **{
                    "id": f"{name}{n}",
                    "task": "t",
                    "body": "",
                    "content_type": "",
                    "headers": {"id": f"{name}{n}"},
                },
                **{"content_encoding": "", "properties": {}, "exchange": "", "routing_key": "q"},
                priority=priority,
            )
            for n in range(size)
        ]
        message = ReceivedMessage(channel=self.channel)
        message.ack = lambda multiple=False: self.acknowledged.append(name)
        envelope = OpenEnvelope(name, message, message.ack_log_error, Jobs(pack(jobs)))
        is_one = together or shares
        groups = [range(size)] if is_one else [[index] for index in range(size)]
        self.feed.add(envelope, [Unit(envelope, group, lane, together, shares) for group in groups])
        return envelope

    def finish(self, name: str, index: int) -> None:
        self.jobs[name, index].ack()
        self.turn()

    def wait(self) -> tuple[list[str], float]:
        """Wait for messages as kombu does; return where, and for how many seconds."""
        seconds = self.channel.brpop_timeout
        return self.channel._queue_cycle.consume(len(self.queues)), seconds

    def turn(self) -> None:
        """Let the worker's loop do what is to be done soon."""
        soon, self.soon[:] = list(self.soon), []
        for callback in soon:
            callback()
