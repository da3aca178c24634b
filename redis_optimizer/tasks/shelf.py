"""The jobs of an outbox, in their buffers: who has the lock may look and change."""

from collections.abc import Collection, Iterable

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.utils.uuid import uuid

from redis_optimizer.core.backoff import Backoff
from redis_optimizer.core.buffer import JobBuffer
from redis_optimizer.tasks.kinds import DEDUP_HEADER, Kind, Terms, message_size
from redis_optimizer.tasks.message import Message

__all__ = ["Shelf", "Taken"]

Taken = list[tuple[str, Message, int]]
"""The id under which each job is known here, the job and its bytes."""


class Shelf:
    """Hold jobs by kind, and know of each until it is sent. It takes no lock.

    Args:
        max_jobs: Jobs held at most.
        max_bytes: Bytes held at most.
    """

    def __init__(self, *, max_jobs: int, max_bytes: int) -> None:
        self.buffers: dict[Kind, JobBuffer[Message]] = {}
        self.jobs: dict[str, tuple[Kind, str]] = {}  # kind and task of all, also on their way
        self.keys: dict[str, str] = {}
        self.bytes = 0
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        self._backoffs: dict[Celery, Backoff] = {}  # an app has one broker
        self._retry: float | None = None

    def has_room(self, size: int) -> bool:
        """Tell whether a job of so many bytes can be taken."""
        return len(self.jobs) < self._max_jobs and self.bytes + size <= self._max_bytes

    def add(self, kind: Kind, terms: Terms, message: Message, size: int) -> JobBuffer[Message]:
        """Take a job of so many bytes, and return the buffer that it is in.

        Raises:
            kombu.exceptions.OperationalError: when there are too many; it is not taken.
        """
        if not self.has_room(size):
            raise OperationalError(
                f"{len(self.jobs)} jobs wait for the broker, which does not take them: no more "
                "are held (REDIS_OPTIMIZER['MAX_BUFFERED'] and ['MAX_BUFFERED_BYTES'])."
            )
        buffer = self._buffer(kind, terms)
        # Two jobs may be given one id; both are sent.
        id = message.id if message.id not in self.jobs else uuid()
        buffer.add(id, message, size)
        # At once: a signal that came between would leave bytes that nobody has.
        self.jobs[id], self.bytes = (kind, message.task), self.bytes + size
        if key := message.headers.get(DEDUP_HEADER):
            self.keys[key] = id
        return buffer

    def kind_of(self, id: str) -> Kind | None:
        """Return the kind of a job that is here, or on its way."""
        kind, _ = self.jobs.get(id, (None, ""))
        return kind

    def remove(self, id: str) -> Message | None:
        """Take a job out for good; None when it is not here, or already on its way."""
        kind = self.kind_of(id)
        buffer = self.buffers.get(kind) if kind else None
        message = buffer.remove(id) if buffer else None
        if message:
            self.forget([(id, message, message_size(message))])
        return message

    def take(self, buffer: JobBuffer[Message], batch: Taken) -> None:
        """Take out jobs that should leave together, as the buffer named them."""
        buffer.take(batch)
        self._forget_keys(batch)  # from here on, a call like one of them may be one too late

    def give_back(self, kind: Kind, buffer: JobBuffer[Message], taken: Taken) -> None:
        """Put jobs back that could not leave, into the buffer that they came from: they are due.

        Those of other kinds are first next time: the broker may refuse this one alone, for good.
        """
        self.buffers[kind] = self.buffers.pop(kind, buffer)
        self.buffers[kind].give_back(taken)
        for id, message, _ in taken:
            if key := message.headers.get(DEDUP_HEADER):
                self.keys.setdefault(key, id)

    def forget(self, taken: Taken) -> None:
        """Forget jobs that have left."""
        self._forget_keys(taken)
        for id, _, size in taken:
            kind = self.kind_of(id)
            self.bytes -= size if self.jobs.pop(id, None) else 0  # it may be the second time
            buffer = self.buffers.get(kind) if kind else None
            if kind and buffer is not None and not buffer and not buffer.is_held:
                del self.buffers[kind]

    def due(self) -> dict[Kind, float]:
        """Return when jobs of each kind should leave."""
        return {
            kind: max(buffer.due, self.backoff(kind).until) for kind, buffer in self.buffers.items()
        }

    def backoff(self, kind: Kind) -> Backoff:
        """Return what is waited for after a failure of a kind's broker."""
        backoff = self._backoffs.get(kind.app)
        if backoff is None:
            backoff = self._backoffs[kind.app] = Backoff()
            if self._retry is not None:
                backoff.hurry(self._retry)
        return backoff

    def hurry(self, retry: float) -> None:
        """Let everything be due, also what comes from now on.

        Args:
            retry: Seconds between attempts.
        """
        self._retry = retry
        for buffer in self.buffers.values():
            buffer.hurry()
        for backoff in self._backoffs.values():
            backoff.hurry(retry)

    def clear(self) -> tuple[dict[str, str], Collection[str]]:
        """Forget everything.

        Returns:
            The task of each job, by its id, and the ids of those that were on their way.
        """
        left, self.jobs, self.bytes = self.jobs, {}, 0
        waiting = {id for buffer in self.buffers.values() for id in buffer}
        self.buffers.clear()
        self.keys.clear()
        return {id: task for id, (_, task) in left.items() if task}, left.keys() - waiting

    def _buffer(self, kind: Kind, terms: Terms) -> JobBuffer[Message]:
        buffer = self.buffers.get(kind)
        if buffer is None:
            buffer = self.buffers[kind] = JobBuffer(
                size=terms.size,
                max_bytes=terms.max_bytes,
                timeout=terms.timeout,
                delay=terms.delay,
            )
            if self._retry is not None:
                buffer.hurry()
        return buffer

    def _forget_keys(self, jobs: Iterable[tuple[str, Message, int]]) -> None:
        for id, message, _ in jobs:
            key = message.headers.get(DEDUP_HEADER)
            if key and self.keys.get(key) == id:
                del self.keys[key]
