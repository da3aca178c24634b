"""Jobs that have been called for and have not left the process yet."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from math import inf
from typing import Final

import redis
from celery.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import ChannelError, OperationalError

from redis_optimizer.core.buffer import JobBuffer
from redis_optimizer.core.forks import join_thread
from redis_optimizer.tasks.kinds import Kind, Terms, message_size
from redis_optimizer.tasks.kombu.sending import PartlySent
from redis_optimizer.tasks.losses import report
from redis_optimizer.tasks.message import Message
from redis_optimizer.tasks.shelf import Shelf, Taken

__all__ = ["Outbox"]

logger = logging.getLogger("redis_optimizer.tasks")

CROWD: Final = 4
"""Batches of one kind that may pile up behind a sending, or a delay, before they wait no more."""

PATIENCE: Final = 1.0
"""Seconds that a caller waits for another's sending to end, before it leaves its own to the thread:
a broker that hangs must not hold up a whole site, one request after the other."""

CLOSING_RETRY: Final = 0.1  # seconds between attempts while the process ends

BROKER_ERRORS: Final = (OperationalError, ChannelError, redis.RedisError, OSError)
"""What says that the broker does not take jobs now; anything else is the fault of a job."""


@dataclass
class UnderWay:
    """A batch between its buffer and the broker."""

    kind: Kind
    buffer: JobBuffer[Message] = field(init=False)
    unsent: Taken = field(default_factory=list)
    sent: Taken = field(default_factory=list)


class Outbox:
    """Hold the jobs of this process until they are sent.

    Whoever fills a batch sends it; a daemon thread, started with the first job, sends those that
    have waited long enough. One sending at a time needs one connection to the broker. A sending
    that fails keeps its jobs, with their ids, and is tried again, later each time: none is lost,
    none is refused afterwards, and `add` refuses new ones when there are too many.

    Args:
        dispatch: Sends messages of one kind, or raises.
        max_jobs: Jobs held at most.
        max_bytes: Bytes held at most.
        started: Called with the first job.
        flushed: Called when a batch has left, with its kind, how many jobs it had, and why it left,
            in a word.
        failed: Called when one could not be sent, and is kept.
    """

    def __init__(
        self,
        dispatch: Callable[[Kind, list[Message]], None],
        *,
        max_jobs: int,
        max_bytes: int,
        started: Callable[[], None] = lambda: None,
        flushed: Callable[[Kind, int, str], None] = lambda kind, jobs, reason: None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._dispatch = dispatch
        self._shelf = Shelf(max_jobs=max_jobs, max_bytes=max_bytes)  # `_lock` guards it
        self._started = started
        self._flushed = flushed
        self._failed = failed
        # Entered by itself: unlike a Condition, which is written in Python, a lock is taken in one
        # step, so that no exception of a signal, as at a time limit, leaves it taken.
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        # Its owner alone can release it, and does so without a call of a function: as above.
        self._sending = threading.RLock()
        self._sender = 0  # the thread that holds `_sending`: it must not wait for itself
        self._thread: threading.Thread | None = None
        self._looks_at = inf  # when the thread does, unless it is woken
        self._forks = 0  # that are under way
        self._forker = 0  # the thread that holds `_sending` for its fork
        self._has_started = False
        self._awaiting = 0  # those who wait for jobs to be gone
        self.is_closing = False
        self._is_closed = False
        self._is_alone = False  # without a thread

    def __len__(self) -> int:
        return len(self._shelf.jobs)

    def __contains__(self, id: str) -> bool:
        return id in self._shelf.jobs

    def find(self, key: str) -> str | None:
        """Return the id of the job that waits here under a dedup key."""
        return self._shelf.keys.get(key)

    def waiting(self) -> list[tuple[str, int]]:
        """Return for each buffer that holds jobs the name of their task, and how many there are."""
        with self._lock:
            buffers = self._shelf.buffers.items()
            return [(kind.task, len(buffer)) for kind, buffer in buffers if buffer]

    def kind_of(self, id: str) -> Kind | None:
        """Return the kind of a job that is here."""
        return self._shelf.kind_of(id)

    def add(
        self,
        kind: Kind,
        terms: Terms,
        message: Message,
        *,
        may_wait: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take a job. Where there is no room for it, what waits for others leaves first.

        Args:
            kind: Its kind.
            terms: When that kind leaves; those of the first job that waits hold.
            message: The job.
            may_wait: Asked only then; False leaves the sending to the thread, for a caller that
                must not block.

        Raises:
            kombu.exceptions.OperationalError: when too many wait for a broker that does not
                answer; the job is not taken.
        """
        size = message_size(message)
        with self._lock:
            has_room = self._shelf.has_room(size) or self._shelf.backoff(kind).is_waiting
        if not has_room:
            self.flush(force=True) if may_wait() else self.hand_over(timeout=0)
        with self._lock:
            buffer = self._shelf.add(kind, terms, message, size)
            if not self._ensure_thread() and (len(buffer) == 1 or self.is_closing):
                self._wake.notify_all()  # it may be the next that is due

    def remove(self, id: str) -> Message | None:
        """Take a job out; None when it is not here, or already on its way."""
        with self._lock:
            message = self._shelf.remove(id)
            self._tell_waiting()
            return message

    def flush_full(self, kind: Kind, *, wait: bool = True) -> None:
        """Send the batches of a kind that are full; the thread sends those that cannot leave now.

        Args:
            kind: Which.
            wait: False leaves it to the thread, for a caller that must not block.
        """
        if self._is_closed or self._is_alone:
            if not self.flush([kind], force=True, wait=wait) and self._is_closed:
                self._give_up()
            return
        with self._lock:
            buffer = self._shelf.buffers.get(kind)
            if buffer is None or not buffer.is_full:
                return
            is_crowded = len(buffer) >= CROWD * buffer.size
            if is_crowded and not self._shelf.backoff(kind).is_waiting:
                buffer.release()  # a delay smooths bursts; it must not let jobs be refused
        try:
            if wait and self._is_ready(kind) and self._acquire(PATIENCE if is_crowded else 0):
                try:
                    while self._is_ready(kind) and self._send(kind):
                        pass
                finally:
                    self._sender = 0
                    self._sending.release()
        finally:
            self._leave(kind)

    def flush(
        self, kinds: Collection[Kind] | None = None, *, force: bool = False, wait: bool = True
    ) -> bool:
        """Send all jobs of some kinds, or leave it to the thread when that would take long.

        Args:
            kinds: Which; None for all.
            force: Do not keep to their delay. After a failure they wait in any case.
            wait: False leaves it to the thread, for a caller that must not block.

        Returns:
            True when nothing of these kinds is left.
        """
        with self._lock:
            kinds = list(self._shelf.buffers) if kinds is None else kinds
            for buffer in filter(None, map(self._shelf.buffers.get, kinds)):
                buffer.expect()
                if force:
                    buffer.release(whole=True)
        if wait and self._acquire(timeout=PATIENCE):
            try:
                for kind in kinds:
                    while not self._is_held(kind) and self._send(kind):
                        pass
            finally:
                self._sender = 0
                self._sending.release()
        with self._lock:
            self._wake.notify_all()
            return not any(map(self._shelf.buffers.get, kinds))

    def hand_over(self, timeout: float) -> tuple[int, int]:
        """Let the thread send everything that is here, without keeping to delays.

        Args:
            timeout: Seconds to wait for it; 0 returns at once.

        Returns:
            How many of these jobs have left, and how many have not.
        """
        with self._lock:
            before = set(self._shelf.jobs)
            if before:
                self._ensure_thread()  # there may have been none to be had
            for buffer in self._shelf.buffers.values():
                buffer.expect()
                buffer.release(whole=True)
            self._wake.notify_all()
            if timeout:
                self._awaiting += 1
                try:
                    self._wake.wait_for(lambda: before.isdisjoint(self._shelf.jobs), timeout)
                finally:
                    self._awaiting -= 1
            left = len(before & self._shelf.jobs.keys())
            return len(before) - left, left

    def close(self, timeout: float) -> None:
        """Send everything, because the process ends; say what could not be sent.

        Args:
            timeout: Seconds in which it is tried.
        """
        with self._lock:
            # The thread does it: a broker that hangs would hang the caller.
            self.is_closing = True
            self._shelf.hurry(CLOSING_RETRY)
            if self._shelf.jobs:
                self._ensure_thread()
        if self._is_alone:
            self.flush(force=True)
        with self._lock:
            self._wake.notify_all()
            self._wake.wait_for(lambda: not self._shelf.jobs, timeout)
            self._is_closed = True
        self._give_up()

    def hold_for_fork(self) -> None:
        """Send what is here, end the thread, and wait until no connection is in use.

        A child could not give the connection back. A fork beside other threads draws a warning
        since Python 3.12, which also counts one that begins anew right after it; so nothing should
        be left that needs one.
        """
        if self._sender != threading.get_ident():
            self.hand_over(PATIENCE)
        with self._lock:
            self._forks += 1
            thread = self._thread
            self._wake.notify_all()
        if thread is not None and thread is not threading.current_thread():
            join_thread(thread, PATIENCE)
        if self._acquire(timeout=PATIENCE):
            self._forker = threading.get_ident()

    def resume_after_fork(self) -> None:
        """Go on in the parent, with a thread if the broker did not take all."""
        if self._forker == threading.get_ident():
            self._forker = 0
            self._sender = 0
            self._sending.release()
        with self._lock:
            self._forks = max(self._forks - 1, 0)  # it may have been made during the fork
            if self._shelf.jobs:
                self._ensure_thread()

    def _give_up(self) -> None:
        """Say which jobs are not sent, and forget them."""
        with self._lock:
            left, on_their_way = self._shelf.clear()
        report(left, unknown=on_their_way, reason="The broker does not answer.")

    def _ensure_thread(self) -> bool:
        """Tell whether the thread had to be started; `_lock` is held."""
        if self._forks or (self._thread is not None and self._thread.is_alive()):
            return False
        self._thread = threading.Thread(target=self._run, name="redis_optimizer.jobs", daemon=True)
        try:
            self._thread.start()
            self._is_alone = False
        except RuntimeError as error:  # until there is one, jobs are sent by who calls for them
            self._thread = None
            self._is_alone = True
            self._is_closed |= "shutdown" in str(error)  # of the interpreter: there will be none
        if not self._has_started:
            self._has_started = True
            self._started()
        return True

    def _run(self) -> None:
        while kinds := self._wait_due():
            for kind in kinds:
                # Others may have their turn between two kinds, and send what was due.
                self._acquire()
                try:
                    if self._is_due(kind) and not self._send(kind):
                        break
                finally:
                    self._sender = 0
                    self._sending.release()

    def _wait_due(self) -> list[Kind]:
        """Wait until jobs should leave, and return their kinds; none when the thread is to end."""
        with self._lock:
            while not self._forks:
                now = time.monotonic()
                due = self._shelf.due()
                first = min(due.values(), default=inf)
                if first <= now:
                    return [kind for kind, at in due.items() if at <= now]
                self._looks_at = first
                self._wake.wait(None if first == inf else first - now)
            self._thread = None
            return []

    def _is_due(self, kind: Kind) -> bool:
        with self._lock:
            return self._shelf.due().get(kind, inf) <= time.monotonic()

    def _is_held(self, kind: Kind) -> bool:
        with self._lock:
            buffer = self._shelf.buffers.get(kind)
            return buffer is None or buffer.is_held

    def _is_ready(self, kind: Kind) -> bool:
        with self._lock:
            buffer = self._shelf.buffers.get(kind)
            if buffer is None or self._shelf.backoff(kind).is_waiting:
                return False
            return buffer.is_full and not buffer.is_held

    def _leave(self, kind: Kind) -> None:
        """Leave to the thread what is full."""
        with self._lock:
            buffer = self._shelf.buffers.get(kind)
            if buffer is not None and buffer.is_full:
                buffer.leave()
                if self._shelf.due()[kind] < self._looks_at:
                    self._wake.notify_all()

    def _send(self, kind: Kind) -> bool:
        """Send one batch; `_sending` is held. Tell whether to go on.

        Raises:
            BaseException: what a signal raises, such as the time limit of the task that called. No
                job of the batch is lost by it, nor sent twice if it comes before or after the
                sending itself: what came of a sending that it interrupts nobody knows.
        """
        way = UnderWay(kind)
        try:
            return self._send_next(way)
        except BaseException:
            if way.sent:
                self._note_sent(way)
            if way.unsent:
                self._give_back(way)
            raise

    def _send_next(self, way: UnderWay) -> bool:
        with self._lock:
            buffer = self._shelf.buffers.get(way.kind)
            if buffer is None or self._shelf.backoff(way.kind).is_waiting:
                return False
            reason = "exit" if self.is_closing else buffer.reason
            way.buffer, way.unsent = buffer, buffer.batch()  # noted before they are taken out
            self._shelf.take(buffer, way.unsent)
        if not way.unsent:
            return False
        try:
            self._dispatch(way.kind, [message for _, message, _ in way.unsent])
        except PartlySent as error:
            ids = {message.id for message in error.unsent}
            sent = [job for job in way.unsent if job[1].id not in ids]
            way.sent, way.unsent = sent, [job for job in way.unsent if job[1].id in ids]
            self._note_sent(way)
            self._flushed(way.kind, len(way.sent), reason)
            self._keep(way, error)
            return False
        except BROKER_ERRORS as error:
            self._keep(way, error)
            return False
        except SoftTimeLimitExceeded:
            raise
        except Exception:
            return self._send_singly(way)
        way.sent, way.unsent = way.unsent, []
        self._note_sent(way)
        self._flushed(way.kind, len(way.sent), reason)
        return True

    def _send_singly(self, way: UnderWay) -> bool:
        """Send jobs of which one cannot be sent, whatever the broker does: the others are."""
        while way.unsent:
            first, *others = way.unsent
            id, message, _ = first
            try:
                self._dispatch(way.kind, [message])
            except BROKER_ERRORS as error:
                self._keep(way, error)
                return False
            except SoftTimeLimitExceeded:
                raise
            except Exception as error:
                report({id: message.task}, reason=f"It cannot be sent: {error!r}")
            way.sent, way.unsent = [first], others
            self._note_sent(way)
        return True

    def _note_sent(self, way: UnderWay) -> None:
        with self._lock:
            self._shelf.backoff(way.kind).succeed()
            way.buffer.sent()
            self._shelf.forget(way.sent)
            self._tell_waiting()

    def _keep(self, way: UnderWay, error: Exception) -> None:
        with self._lock:
            backoff = self._shelf.backoff(way.kind)
            backoff.fail()
            log = logger.warning if backoff.failures == 1 else logger.debug
        count = len(way.unsent)
        self._give_back(way)
        self._failed()
        log("%d jobs could not be sent and are kept: %s", count, error)

    def _give_back(self, way: UnderWay) -> None:
        with self._lock:
            self._shelf.give_back(way.kind, way.buffer, way.unsent)
            way.unsent = []
            self._wake.notify_all()  # they are due again, perhaps sooner than anything else

    def _tell_waiting(self) -> None:
        if self.is_closing or self._awaiting:
            self._wake.notify_all()

    def _acquire(self, timeout: float = -1) -> bool:
        if self._sender == threading.get_ident():
            return False  # a log handler that sends a job, say, while this thread is sending
        try:
            if not self._sending.acquire(timeout != 0, timeout if timeout else -1):
                return False
            self._sender = threading.get_ident()
        except BaseException:  # of a signal: perhaps just after it was got
            if self._sender == threading.get_ident():  # else it is another's, who may be sending
                self._sender = 0
            with contextlib.suppress(RuntimeError):
                self._sending.release()
            raise
        return True
