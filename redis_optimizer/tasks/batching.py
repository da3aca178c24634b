"""The outbox of this process: what goes into it, and how it is sent."""

import asyncio
import threading
from dataclasses import replace
from math import inf
from typing import Any, Final

from celery import Celery
from kombu.utils.uuid import uuid

from redis_optimizer.conf import get_settings
from redis_optimizer.core.forks import around_fork
from redis_optimizer.signals import batch_flushed
from redis_optimizer.stats.desk import desk
from redis_optimizer.switches import is_on, on_change
from redis_optimizer.tasks import announce, exits
from redis_optimizer.tasks.counts import counter
from redis_optimizer.tasks.envelope import envelope_message
from redis_optimizer.tasks.kinds import Kind, Terms
from redis_optimizer.tasks.kombu.sending import PartlySent, send
from redis_optimizer.tasks.message import Message
from redis_optimizer.tasks.outbox import Outbox

__all__ = [
    "collect",
    "count",
    "find",
    "flush_all",
    "flush_full",
    "flush_job",
    "hand_over",
    "is_closing",
    "is_pending",
    "outbox",
    "put",
    "terms_of",
    "waiting",
    "withdraw",
]

EXIT_TIMEOUT: Final = 5.0
"""Seconds for which a process that ends tries to send what it holds."""

PART: Final = "batching"
"""The part that this is, see `redis_optimizer.switches`."""

FLUSH_TIMEOUT: Final = 0.5
"""Seconds for which the answer to an order to send waits for the sending."""

SIDE_BY_SIDE: Final = 1_000
"""Messages without an envelope that are held for one sending."""

SIDE_BY_SIDE_BYTES: Final = 4 * 1024**2

_current: Outbox | None = None
_making = threading.RLock()  # a finalizer that the GC runs inside may send a job


def outbox() -> Outbox:
    """Return the outbox of this process."""
    return _current if _current is not None else _make()


def _make() -> Outbox:
    global _current
    settings = get_settings()
    made = Outbox(
        _dispatch,
        max_jobs=settings.MAX_BUFFERED,
        max_bytes=settings.MAX_BUFFERED_BYTES,
        started=_watch_exits,
        flushed=_note_flushed,
        failed=counter.fail,
    )
    with _making:  # whoever comes second takes that of the first, which may hold jobs by now
        if _current is None:
            _current = made
        return _current


def is_pending() -> bool:
    """Tell whether this process holds jobs that are not sent."""
    return _current is not None and len(_current) > 0


def count() -> int:
    """Return how many jobs this process holds that are not sent."""
    return 0 if _current is None else len(_current)


def waiting() -> list[tuple[str, int]]:
    """Return for each buffer that holds jobs the name of their task, and how many there are."""
    return [] if _current is None else _current.waiting()


def terms_of(task: Any) -> Terms:
    """Return when the jobs of an `OptimizedTask` leave: by its own options, else the settings."""
    settings = get_settings()
    return Terms(
        size=settings.BATCH_SIZE if task.batch_size is None else task.batch_size,
        max_bytes=settings.MAX_MESSAGE_BYTES,
        timeout=settings.BATCH_TIMEOUT if task.batch_timeout is None else task.batch_timeout,
        delay=settings.BATCH_DELAY if task.batch_delay is None else task.batch_delay,
    )


def put(app: Celery, task: Any, message: Message) -> Kind:
    """Hold a job of a task that is sent in batches.

    Args:
        app: Whose broker it is for.
        task: The task.
        message: The job; or an event that Celery sends with it, which takes the same way.

    Returns:
        The kind of jobs with which it leaves.

    Raises:
        kombu.exceptions.OperationalError: when too many jobs wait for the broker.
    """
    kind = Kind.of(app, message) if message.task else Kind(app)
    _add(kind, terms_of(task), message)
    return kind


def collect(app: Celery, block: int, message: Message, timeout: float = inf) -> None:
    """Hold a message of any task until a ``batch()`` ends.

    Args:
        app: Whose broker it is for.
        block: Id of the ``batch()``.
        message: The message.
        timeout: Seconds that it waits at most.

    Raises:
        kombu.exceptions.OperationalError: when too many jobs wait for the broker.
    """
    kind = Kind(app, block=block)
    terms = Terms(SIDE_BY_SIDE, SIDE_BY_SIDE_BYTES, timeout)
    _add(kind, terms, message)
    flush_full(kind)


def flush_full(kind: Kind) -> None:
    """Send the batches of a kind that are full; in an event loop, leave it to the thread."""
    outbox().flush_full(kind, wait=_may_wait())


def flush_job(id: str) -> None:
    """Send what leaves with a job, if it is still here: somebody waits for it."""
    if is_pending() and (kind := outbox().kind_of(id)):
        outbox().flush([kind], force=True)


def flush_all() -> None:
    """Send everything that is here: somebody waits for some of it."""
    if is_pending():
        outbox().flush(force=True)


def hand_over(timeout: float = FLUSH_TIMEOUT) -> dict[str, int]:
    """Have everything that is here sent by the thread of the outbox.

    Args:
        timeout: Seconds for which that is awaited; it goes on afterwards.

    Returns:
        jobs that have left meanwhile, and those of them that are left here.
    """
    if not is_pending():
        return {"jobs": 0, "left": 0}
    jobs, left = outbox().hand_over(timeout)
    return {"jobs": jobs, "left": left}


def find(app: Celery, key: str) -> str | None:
    """Return the id of the job that this process holds under a dedup key.

    Args:
        app: Not used: keys are those of one namespace, whatever the app.
        key: The dedup key.
    """
    return outbox().find(key) if is_pending() else None


def withdraw(id: str) -> Message | None:
    """Take a job out that has not left; None when it has, or was never here."""
    return outbox().remove(id) if is_pending() else None


def _add(kind: Kind, terms: Terms, message: Message) -> None:
    message = message if message.id else replace(message, id=uuid())
    outbox().add(kind, terms, message, may_wait=_may_wait)
    counter.buffer(message)


def _may_wait() -> bool:
    """Tell whether the caller may be held up; an event loop may not."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


def _dispatch(kind: Kind, messages: list[Message]) -> None:
    if len(messages) > 1 and _takes_envelopes(kind):
        envelope = envelope_message(kind.app, messages)
        if get_settings().ENVELOPES is True:
            send(kind.app, [envelope])
            counter.send(messages, envelope=True)
            return
        if announce.push(kind.app, kind.routing_key, envelope):
            counter.send(messages, envelope=True)
            return
    try:
        send(kind.app, messages)
    except PartlySent as error:
        counter.send(error.sent, envelope=False)
        raise
    counter.send(messages, envelope=False)


def _note_flushed(kind: Kind, jobs: int, reason: str) -> None:
    counter.flush(reason)
    if batch_flushed.receivers:
        batch_flushed.send_robust(sender=Outbox, task=kind.task, jobs=jobs, reason=reason)


def _takes_envelopes(kind: Kind) -> bool:
    settings = get_settings()
    if not is_on(PART) or not kind.task or kind.exchange or settings.ENVELOPES is False:
        return False
    if not {"json", "application/json"} & set(kind.app.conf.accept_content or ()):
        return False
    return settings.ENVELOPES is True or announce.is_opened(kind.app, kind.routing_key)


def is_closing() -> bool:
    """Tell whether this process is sending its last."""
    return _current is not None and _current.is_closing


def _watch_exits() -> None:
    exits.watch(lambda: outbox().close(EXIT_TIMEOUT), is_pending, is_closing)


def _switch() -> None:
    if not is_on(PART):
        hand_over(timeout=0)


on_change(PART, _switch)
desk.register("flush", hand_over, waits=True)


def _hold() -> None:
    if _current is not None:
        _current.hold_for_fork()


def _resume() -> None:
    if _current is not None:
        _current.resume_after_fork()


def _forget() -> None:
    """Start anew in a forked child: what waits is the parent's, and so is its thread."""
    global _current, _making
    _current, _making = None, threading.RLock()


around_fork(before=_hold, after_in_parent=_resume, after_in_child=_forget)
