"""Hand the jobs of open envelopes to Celery, a few at a time."""

import heapq
import itertools
import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from time import monotonic
from typing import Any, Final

from redis_optimizer.tasks.celery_internals import current_greenlet
from redis_optimizer.tasks.hold import Hold
from redis_optimizer.tasks.kombu.sending import PartlySent, send
from redis_optimizer.tasks.opened import JobMessage, OpenEnvelope, Unit
from redis_optimizer.tasks.pace import Pace
from redis_optimizer.tasks.records import BROKER_ERRORS, Records

__all__ = ["POOL", "UNBOUNDED", "Feed"]

logger = logging.getLogger(__name__)

PER_PROCESS: Final = 2
"""Units in the pool for each of its processes: one runs, and the next is there when it is done."""

PREFETCH: Final = 4  # jobs that wait for each process: Celery's default, with which it is as fair
TURN: Final = 0.05  # seconds after which the worker's loop gets its turn: solo runs jobs in ours
PAUSE: Final = 0.001  # seconds; a callback for "soon" would wait for the loop's next event

POOL: Final = ""
"""The lane of jobs that wait for the pool alone."""

UNBOUNDED: Final = "redis_optimizer.unbounded"
"""The lane of jobs that are not for the pool yet."""

Waiting = tuple[int, int, Unit]


class Feed:
    """The jobs of one consumer's open envelopes, between the broker and the pool.

    Only so many units are with Celery at a time: what it has cannot be handed back at once when
    the worker stops. Those of a task with a rate limit wait in Celery's bucket, not in the pool,
    so each such task has a window of its own, a lane.

    Args:
        consumer: Celery's, for as long as its connection lasts.
        start: Hands a unit to Celery; called in the consumer's thread.
    """

    def __init__(self, consumer: Any, start: Callable[[Unit], None]) -> None:
        self.is_open = True
        self.envelopes: dict[str, OpenEnvelope] = {}
        self._consumer = consumer
        self._app = consumer.app
        self._is_green = consumer.hub is None and consumer.pool.is_green
        self._greenlet: Any = None  # that pumps now
        self._start = start
        self._pace = Pace()
        self._hold = Hold()
        self._records = Records(consumer.app, consumer.timer)
        self._lock = threading.RLock()
        self._waiting: defaultdict[str, list[Waiting]] = defaultdict(list)
        self._fed: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._is_abandoned = False
        self._is_pumping = False
        self._is_woken = False
        self._came_late = False  # a place that nobody has looked at yet
        self._ack_now = False

    def add(self, envelope: OpenEnvelope, units: Iterable[Unit]) -> None:
        """Take in an envelope."""
        self.envelopes[envelope.id] = envelope
        self._push(units)
        self.pump()
        if self.is_open and self._has_plenty():
            self._hold.begin(envelope.message.channel)

    def rest(self, channel: Any, seconds: float) -> None:
        """Leave the envelopes on a channel to other workers for a while.

        Args:
            channel: It has just given one that is not for this worker.
            seconds: How long.
        """
        self._hold.rest(channel, seconds)
        self._consumer.timer.call_after(seconds, self._pump_from_timer)

    def pump(self) -> None:
        """Hand over what the pool has room for. Higher priority first (0 is highest), then age."""
        with self._lock:
            self._is_woken = False
            if self._is_pumping:  # a job of the solo pool was done within this very call
                return
            self._is_pumping = True
        ends = monotonic() + TURN
        try:
            while (unit := self._next()) is not None:
                self._start(unit)
                if monotonic() > ends:
                    self._consumer.timer.call_after(PAUSE, self._pump_from_timer)
                    break
        finally:
            with self._lock:
                self._is_pumping = False
                self._is_woken |= self._came_late
                is_late, self._came_late = self._came_late, False
            if is_late:
                self._wake()
            self._records.save_soon()
            self._let_go()

    def finish(self, job: JobMessage) -> None:
        """Note that a job is done with; its envelope is acknowledged when all are."""
        self.settle(job.unit, [job.index])

    def requeue(self, job: JobMessage) -> None:
        """Send a job alone to its queue before it counts as done."""
        self.send_again(job.unit, [job.index])

    def settle(self, unit: Unit, indexes: Sequence[int]) -> None:
        """Note that jobs of a unit are done with."""
        self._finish(unit.envelope, indexes)
        self._hold.note(len(indexes))
        self._release(unit, len(indexes))

    def send_again(self, unit: Unit, indexes: Sequence[int]) -> None:
        """Send jobs of a unit, each alone, to their queue before they count as done."""
        envelope = unit.envelope
        if not self._is_abandoned:
            left = self._hand_back(envelope, indexes)
            self._push([Unit(envelope, [index], unit.lane) for index in left])
        self._release(unit, len(indexes))

    def put_back(self, unit: Unit, indexes: Sequence[int]) -> None:
        """Let jobs of a unit wait again: it ran the others only."""
        if not self._is_abandoned:
            self._push([unit.leave(indexes)])
        self._release(unit, len(indexes))

    def hand_back(self, older_than: float = 0) -> None:
        """Send the jobs that Celery does not have yet to their queue, for other workers.

        Args:
            older_than: Only those of envelopes opened this many seconds ago.
        """
        latest = monotonic() - older_than
        taken: dict[str, list[Unit]] = {}
        for unit in self._take(lambda unit: unit.envelope.opened_at <= latest):
            taken.setdefault(unit.envelope.id, []).append(unit)
        kept: list[Unit] = []
        is_any_sent = False
        for units in taken.values():
            indexes = [index for unit in units for index in unit.indexes]
            left = set(self._hand_back(units[0].envelope, indexes))
            is_any_sent |= len(left) < len(indexes)
            for unit in units:
                if its := [index for index in unit.indexes if index in left]:
                    kept.append(unit.leave(its))
        if kept and self.is_open:  # else they are handed back in the end, or come again
            self._push(kept)
            self.pump()
        if is_any_sent:
            # Should we be killed while others still run, these must not be sent again.
            self._records.save()
        self._let_go()

    def close(self) -> None:
        """Hand nothing over any more, and the jobs that Celery does not have yet back."""
        self.is_open = False
        if self._greenlet is not None:
            # It waits for a place in the pool, and would find one when the pool has ended. What it
            # has in hand is handed back with all that is not done with then.
            self._greenlet.kill()
        self.hand_back()
        self._records.save()

    def abandon(self) -> None:
        """Forget what is not with Celery yet: the broker gives the envelopes to somebody."""
        self.is_open = False
        self._is_abandoned = True
        self._take(lambda unit: True)
        self._records.save()

    def wind_up(self) -> None:
        """Hand back every job that is not done with: nothing runs any more, the pool is gone."""
        if self._is_abandoned:
            self._records.save()
            return
        self.is_open = False
        self._ack_now = True  # the worker's loop, which would do so soon, has ended
        self._take(lambda unit: True)
        for envelope in list(self.envelopes.values()):
            self._hand_back(envelope, envelope.unfinished())
        self._records.save()

    def _next(self) -> Unit | None:
        with self._lock:
            self._came_late = False
            window = PER_PROCESS * self._processes()
            lanes = [
                lane for lane in self._waiting if self._fed[lane] < window or lane == UNBOUNDED
            ]
            if not lanes or not self.is_open:
                return None
            lane = min(lanes, key=lambda lane: self._waiting[lane][0])
            *_, unit = self._waiting[lane][0]
            if (count := self._count(unit)) < len(unit.indexes):
                unit = unit.take(count)
            else:
                heapq.heappop(self._waiting[lane])
                if not self._waiting[lane]:
                    del self._waiting[lane]
            unit.started_at = monotonic()
            self._fed[lane] += 1
            return unit

    def _count(self, unit: Unit) -> int:
        """Return how many jobs of a unit are to take one place."""
        if unit.bulk:
            return len(unit.indexes)
        if not unit.shares:
            return 1
        return min(self._pace.size(unit.task), ceil(unit.size / self._processes()))

    def _processes(self) -> int:
        return self._consumer.pool.num_processes or 1

    def _push(self, units: Iterable[Unit]) -> None:
        with self._lock:
            for unit in units:
                item = (unit.priority, next(self._numbers), unit)
                heapq.heappush(self._waiting[unit.lane], item)

    def _take(self, chosen: Callable[[Unit], bool]) -> list[Unit]:
        """Take waiting units out."""
        taken: list[Unit] = []
        with self._lock:
            for lane, heap in list(self._waiting.items()):
                taken += [unit for *_, unit in sorted(heap) if chosen(unit)]
                heap[:] = sorted(item for item in heap if not chosen(item[-1]))
                if not heap:
                    del self._waiting[lane]
        return taken

    def _hand_back(self, envelope: OpenEnvelope, indexes: Sequence[int]) -> list[int]:
        """Send jobs to their queue; return those that could not be.

        Singly, to the queue itself: whoever takes over in a deployment, old or new, can run them.
        """
        messages = {index: envelope.jobs[index].again() for index in indexes}
        left: list[int] = []
        try:
            send(self._app, list(messages.values()))
        except BROKER_ERRORS as error:
            logger.error("Jobs of envelope %s could not be handed back: %s", envelope.id, error)
            if not isinstance(error, PartlySent):
                return list(indexes)
            unsent = set(map(id, error.unsent))
            left = [index for index, message in messages.items() if id(message) in unsent]
        self._finish(envelope, sorted(messages.keys() - set(left)))
        return left

    def _finish(self, envelope: OpenEnvelope, indexes: Sequence[int]) -> None:
        envelope.finish(indexes)
        with self._lock:
            if envelope.finished.left:
                self._records.note(envelope)
                return
            if self.envelopes.pop(envelope.id, None) is None:
                return
            self._records.settle(envelope)
        ack = envelope.message.ack_log_error if self._ack_now else envelope.ack
        ack(logger, self._consumer.connection_errors)

    def _release(self, unit: Unit, count: int) -> None:
        with self._lock:
            unit.left -= count
            if unit.left:
                return
            if unit.shares:
                self._pace.note(unit.task, (monotonic() - unit.started_at) / len(unit.indexes))
            self._fed[unit.lane] -= 1
            if self._is_pumping:  # perhaps in another thread, and past its last look
                self._came_late = True
                return
            if self._is_woken:
                return
            self._is_woken = True
        self._wake()

    def _wake(self) -> None:
        if self._is_green:
            # In a greenlet of its own: this one is a job's, whose place in the pool is taken until
            # it has ended, and whose time limit still runs. And a call for "soon" waits for the
            # broker's next word.
            self._consumer.timer.call_after(0, self._pump_from_timer)
        else:
            self._consumer.call_soon(self.pump)

    def _pump_from_timer(self) -> None:
        # The loop's timer runs in the loop, where a call for "soon" waits for its next event.
        if self._consumer.hub:
            self.pump()
        elif self._is_green:
            if self._is_pumping:
                return
            self._greenlet = current_greenlet()
            try:
                self.pump()
            except Exception:  # nobody else says so in the log
                logger.exception("Jobs of envelopes could not be handed to the pool")
            finally:
                self._greenlet = None
        else:
            self._wake()

    def _has_plenty(self) -> bool:
        """Tell whether more jobs wait than plain Celery would have taken, and can be done soon."""
        with self._lock:
            waiting = sum(len(unit.indexes) for *_, unit in self._waiting.get(POOL, ()))
        return waiting > self._hold.enough(PREFETCH * self._processes())

    def _let_go(self) -> None:
        if self._hold.is_on and not (self.is_open and self._has_plenty()):
            self._hold.end()
