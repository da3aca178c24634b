"""Jobs that have been called for and have not left the process yet."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from math import inf
from typing import Final

from kombu.exceptions import OperationalError

from redis_optimizer.core.buffer import JobBuffer
from redis_optimizer.signals import jobs_lost
from redis_optimizer.tasks.kinds import DEDUP_HEADER, Kind, Terms, message_size
from redis_optimizer.tasks.message import Message

__all__ = ["Outbox"]

logger = logging.getLogger("redis_optimizer.tasks")

CROWD: Final = 4
"""Batches of one kind that may pile up behind a sending, before who adds to them has to wait."""

CLOSING_RETRY: Final = 0.1  # seconds between attempts while the process ends


class Outbox:
    """Hold the jobs of this process until they are sent.

    Whoever fills a batch sends it; a daemon thread, started with the first job, sends those that
    have waited long enough. One sending at a time needs one connection to the broker. A sending
    that fails keeps its jobs, with their ids, and is tried again: none is lost, none is refused
    afterwards, and `add` refuses new ones when there are too many.

    Args:
        dispatch: Sends messages of one kind, or raises.
        max_jobs: Jobs held at most.
        max_bytes: Bytes held at most.
        started: Called once, with the first job.
    """

    def __init__(
        self,
        dispatch: Callable[[Kind, list[Message]], None],
        *,
        max_jobs: int,
        max_bytes: int,
        started: Callable[[], None] = lambda: None,
    ) -> None:
        self._dispatch = dispatch
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        self._started = started
        self._wake = threading.Condition(threading.Lock())
        self._sending = threading.Lock()
        self._sender = 0  # the thread that holds `_sending`: it must not wait for itself
        self._buffers: dict[Kind, JobBuffer[Message]] = {}
        self._kinds: dict[str, Kind] = {}  # of each job that is here or on its way
        self._keys: dict[str, str] = {}
        self._bytes = 0
        self._thread: threading.Thread | None = None
        self._closing = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._kinds)

    def __contains__(self, id: str) -> bool:
        return id in self._kinds

    def find(self, key: str) -> str | None:
        """Return the id of the job that is here under a dedup key."""
        return self._keys.get(key)

    def kind_of(self, id: str) -> Kind | None:
        """Return the kind of a job that is here."""
        return self._kinds.get(id)

    def add(self, kind: Kind, terms: Terms, message: Message) -> None:
        """Take a job.

        Args:
            kind: Its kind.
            terms: When that kind leaves; those of its first job hold.
            message: The job.

        Raises:
            kombu.exceptions.OperationalError: when too many wait for a broker that does not
                answer; the job is not taken.
        """
        size = message_size(message)
        with self._wake:
            if len(self._kinds) >= self._max_jobs or self._bytes + size > self._max_bytes:
                raise OperationalError(
                    f"{len(self._kinds)} jobs wait for the broker, which does not take them: no "
                    "more are held (REDIS_OPTIMIZER['MAX_BUFFERED'] and ['MAX_BUFFERED_BYTES'])."
                )
            buffer = self._buffers.get(kind)
            if buffer is None:
                buffer = self._buffers[kind] = JobBuffer(
                    size=terms.size,
                    max_bytes=terms.max_bytes,
                    timeout=terms.timeout,
                    delay=terms.delay,
                )
                if self._closing:
                    buffer.hurry(CLOSING_RETRY)
            buffer.add(message.id, message, size)
            self._kinds[message.id] = kind
            self._bytes += size
            if key := message.headers.get(DEDUP_HEADER):
                self._keys[key] = message.id
            if self._thread is None:
                self._start()
            elif len(buffer) == 1 or self._closing:
                self._wake.notify_all()  # it may be the next that is due

    def remove(self, id: str) -> Message | None:
        """Take a job out; None when it is not here, or already on its way."""
        with self._wake:
            kind = self._kinds.get(id)
            buffer = self._buffers.get(kind) if kind else None
            message = buffer.remove(id) if buffer else None
            if message:
                self._forget([(id, message, message_size(message))])
            return message

    def flush_full(self, kind: Kind, *, wait: bool = True) -> None:
        """Send the batches of a kind that are full.

        Args:
            kind: Which.
            wait: False leaves it to the thread, for a caller that must not block.
        """
        if self._closed:
            if not self.flush([kind], force=True):
                self._give_up()
            return
        with self._wake:
            buffer = self._buffers.get(kind)
            if buffer is None or not buffer.is_full or buffer.is_held:
                return
            crowded = len(buffer) >= CROWD * buffer.size
        if wait and self._acquire(blocking=crowded):
            try:
                while self._is_ready(buffer) and self._send(kind):
                    pass
            finally:
                self._release()
        else:
            with self._wake:
                self._wake.notify_all()

    def flush(
        self,
        kinds: Collection[Kind] | None = None,
        *,
        force: bool = False,
        timeout: float = -1,
    ) -> bool:
        """Send all jobs of some kinds.

        Args:
            kinds: Which; None for all.
            force: Do not keep to their delay. After a failure they wait in any case.
            timeout: Seconds to wait for another sending to end; -1 for ever.

        Returns:
            True when nothing of these kinds is left.
        """
        if not self._acquire(timeout=timeout):
            return False
        try:
            left = False
            for kind in list(self._buffers) if kinds is None else kinds:
                left |= not self._empty(kind, force)
            return not left
        finally:
            self._release()

    def close_block(self, kind: Kind) -> None:
        """Send what a block has collected; what cannot be sent is due from now on."""
        if not self.flush([kind]):
            with self._wake:
                if buffer := self._buffers.get(kind):
                    buffer.timeout = 0.0
                    self._wake.notify_all()

    def close(self, timeout: float) -> None:
        """Send everything, because the process ends; say what could not be sent.

        Args:
            timeout: Seconds in which it is tried.
        """
        with self._wake:
            # The thread does it: a broker that hangs would hang the caller.
            self._closing = True
            for buffer in self._buffers.values():
                buffer.hurry(CLOSING_RETRY)
            self._wake.notify_all()
            self._wake.wait_for(lambda: not self._kinds, timeout)
            self._closed = True
        self._give_up()

    def _give_up(self) -> None:
        """Say which jobs are not sent, and forget them."""
        with self._wake:
            left, self._kinds = self._kinds, {}
            waiting = {id for buffer in self._buffers.values() for id in buffer}
            self._buffers.clear()
        if not left:
            return
        for id, kind in left.items():
            outcome = "is lost" if id in waiting else "may be lost: it is not known to be sent"
            logger.critical("Job %s[%s] %s. The broker does not answer.", kind.task, id, outcome)
        tasks = [kind.task for kind in left.values()]
        jobs_lost.send(sender=Outbox, ids=list(left), tasks=tasks)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="redis_optimizer.jobs", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter shuts down: jobs are sent by who calls for them
            self._closed = True
        self._started()

    def _run(self) -> None:
        while True:
            kinds = self._wait_due()
            self._acquire()
            try:
                for kind in kinds:
                    self._send(kind)
            finally:
                self._release()

    def _wait_due(self) -> list[Kind]:
        """Wait until jobs should leave, and return their kinds."""
        with self._wake:
            while True:
                now = time.monotonic()
                due = {kind: buffer.due for kind, buffer in self._buffers.items()}
                first = min(due.values(), default=inf)
                if first <= now:
                    return [kind for kind, at in due.items() if at <= now]
                self._wake.wait(None if first == inf else first - now)

    def _empty(self, kind: Kind, force: bool) -> bool:
        with self._wake:
            buffer = self._buffers.get(kind)
            if buffer is None:
                return True
            if force and not buffer.failures:
                buffer.release()
        while not self._is_held(buffer) and self._send(kind):
            pass
        with self._wake:
            if kind.block and not buffer:
                self._buffers.pop(kind, None)
            return not buffer

    def _is_held(self, buffer: JobBuffer[Message]) -> bool:
        with self._wake:
            return buffer.is_held

    def _is_ready(self, buffer: JobBuffer[Message]) -> bool:
        with self._wake:
            return buffer.is_full and not buffer.is_held

    def _send(self, kind: Kind) -> bool:
        """Send one batch; `_sending` is held. Tell whether to go on."""
        with self._wake:
            buffer = self._buffers.get(kind)
            taken = buffer.take() if buffer else []
        if buffer is None or not taken:
            return False
        try:
            self._dispatch(kind, [message for _, message, _ in taken])
        except BaseException as error:
            with self._wake:
                buffer.give_back(taken)
                failures = buffer.failures
                self._wake.notify_all()  # they are due again, perhaps sooner than anything else
            if not isinstance(error, Exception):
                raise  # the process ends: what was taken is sent, or said to be lost, on the way
            log = logger.warning if failures == 1 else logger.debug
            log("%d jobs could not be sent and are kept: %s", len(taken), error)
            return False
        with self._wake:
            buffer.sent()
            self._forget(taken)
        return True

    def _forget(self, jobs: Iterable[tuple[str, Message, int]]) -> None:
        if self._closing:
            self._wake.notify_all()
        for id, message, size in jobs:
            self._kinds.pop(id, None)
            self._bytes -= size
            key = message.headers.get(DEDUP_HEADER)
            if key and self._keys.get(key) == id:
                del self._keys[key]

    def _acquire(self, *, blocking: bool = True, timeout: float = -1) -> bool:
        if self._sender == threading.get_ident():
            return False  # a log handler that sends a job, say, while this thread is sending
        if not self._sending.acquire(blocking, timeout if blocking else -1):
            return False
        self._sender = threading.get_ident()
        return True

    def _release(self) -> None:
        self._sender = 0
        self._sending.release()
