"""An envelope in the hands of a worker, and its jobs as messages of their own."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from kombu.message import Message as ReceivedMessage

from redis_optimizer.tasks.message import Message
from redis_optimizer.tasks.packed import Jobs
from redis_optimizer.tasks.progress import Bits

__all__ = ["JobMessage", "OpenEnvelope", "Unit", "delivered_with"]


class OpenEnvelope:
    """An envelope whose jobs are being done.

    Args:
        identity: Id of its message, under which its progress is recorded.
        message: Its message, as kombu received it.
        ack: Acknowledges the message, as Celery's strategies are given it.
        jobs: Its jobs, in order.
    """

    def __init__(
        self,
        identity: str,
        message: ReceivedMessage,
        ack: Callable[..., Any],
        jobs: Jobs,
    ) -> None:
        self.id = identity
        self.message = message
        self.ack = ack
        self.jobs = jobs
        self.finished = Bits(len(jobs))
        self.opened_at = monotonic()
        self.has_record = False
        self._lock = threading.Lock()  # pools of threads finish jobs in theirs

    def finish(self, indexes: Iterable[int]) -> None:
        """Note that jobs are done with."""
        with self._lock:
            for index in indexes:
                self.finished.add(index)

    def unfinished(self) -> list[int]:
        """Return the jobs that are not done with."""
        return [index for index in range(len(self.jobs)) if index not in self.finished]


@dataclass(slots=True, eq=False)
class Unit:
    """What takes one place in the pool: a job, or several.

    Args:
        envelope: Theirs.
        indexes: Which of the envelope's jobs, all of one task.
        lane: Units of a lane share a window: see `Feed`.
        bulk: The jobs run in one call, and are not to be divided.
        shares: So many of the jobs as `Pace` says may take one place; else each takes its own.
    """

    envelope: OpenEnvelope
    indexes: Sequence[int]
    lane: str
    bulk: bool = False
    shares: bool = False
    size: int = field(init=False)
    left: int = field(init=False)
    started_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.size = self.left = len(self.indexes)

    @property
    def task(self) -> str:
        """Return the name of the jobs' task."""
        return self.envelope.jobs[self.indexes[0]].task

    @property
    def priority(self) -> int:
        """Return what its messages came with."""
        return self.envelope.jobs[self.indexes[0]].priority

    def take(self, count: int) -> "Unit":
        """Take out the first jobs, as a unit of their own."""
        taken = Unit(self.envelope, self.indexes[:count], self.lane, self.bulk, self.shares)
        self.indexes = self.indexes[count:]
        self.left = len(self.indexes)
        return taken

    def leave(self, indexes: Sequence[int]) -> "Unit":
        """Take out jobs that have not run, as a unit of their own."""
        ran = set(self.indexes) - set(indexes)
        self.indexes = [index for index in self.indexes if index in ran]
        return Unit(self.envelope, indexes, self.lane, self.bulk, self.shares)


class JobMessage(ReceivedMessage):
    """A job of an envelope, as if it had come alone: only its ack and reject are not the broker's.

    Args:
        unit: What it is fed with.
        index: Which job of the envelope.
        finish: Called once, with the message, when it is done with.
        requeue: Called with the message to have it run again.
    """

    def __init__(
        self,
        unit: Unit,
        index: int,
        finish: "Callable[[JobMessage], None]",
        requeue: "Callable[[JobMessage], None]",
    ) -> None:
        envelope = unit.envelope.message
        source = unit.envelope.jobs[index]
        delivery = {"exchange": source.exchange, "routing_key": source.routing_key}
        super().__init__(
            body=source.body,  # type: ignore[arg-type]  # bytes as well
            channel=envelope.channel,
            delivery_tag=envelope.delivery_tag,
            content_type=source.content_type,
            content_encoding=source.content_encoding,
            delivery_info=delivery,
            properties=delivered_with(
                source, envelope.delivery_tag, envelope.properties.get("body_encoding")
            ),
            headers=source.headers,
            accept=envelope.accept,
            postencode="utf-8",
        )
        self.unit = unit
        self.index = index
        self.source = source
        self._is_settled = False
        self._finish = finish
        self._requeue = requeue

    @property
    def acknowledged(self) -> bool:
        """Return whether Celery is done with it."""
        return self._is_settled

    def ack(self, multiple: bool = False) -> None:
        """Note that the job is done with."""
        if not self._is_settled:
            self._is_settled = True
            self._finish(self)

    def reject(self, requeue: bool = False) -> None:
        """Note that the job is done with, or have it run again."""
        if self._is_settled:
            return
        self._is_settled = True
        if requeue:
            self._requeue(self)
        else:
            self._finish(self)

    def requeue(self) -> None:
        """Have the job run again."""
        self.reject(requeue=True)


def delivered_with(job: Message, delivery_tag: Any, body_encoding: Any) -> dict[str, Any]:
    """Return the properties that kombu would have received a job with, had it come alone.

    Args:
        job: It.
        delivery_tag: Of its envelope.
        body_encoding: Of its envelope.
    """
    return job.properties | {
        "delivery_info": {"exchange": job.exchange, "routing_key": job.routing_key},
        "delivery_tag": delivery_tag,
        "priority": job.priority,
        "body_encoding": body_encoding,
    }
