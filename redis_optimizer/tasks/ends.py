"""When a job starts or is over, its lock goes.

The key of the lock comes with the job, in a header, so that whichever process learns of the end can
release it. A job that runs to its end is heard of in the process that runs it; one that does not,
because its process was killed or it was revoked, in the worker's main process. Nobody hears of the
end of a worker that is killed as a whole: then the lock lapses.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from weakref import WeakValueDictionary

from celery import signals, states
from celery.exceptions import Reject, TimeLimitExceeded

from redis_optimizer.core.forks import around_fork
from redis_optimizer.tasks.bulk import call_with
from redis_optimizer.tasks.keys import mode_of
from redis_optimizer.tasks.kinds import DEDUP_HEADER
from redis_optimizer.tasks.latest import drop, finish, lifetime
from redis_optimizer.tasks.locks import extend, release, release_all
from redis_optimizer.tasks.resume import goes_on, has_kept

__all__ = ["begin_together", "connect"]

_received: Final[WeakValueDictionary[str, Any]] = WeakValueDictionary()
"""Requests of the worker's main process that have locks: Celery 5.6 does not tell a receiver of
`task_failure` which headers the job had."""


def connect() -> None:
    """Listen to Celery's signals; twice does no harm."""
    receivers = (
        (signals.task_received, _on_received),
        (signals.task_prerun, _on_prerun),
        (signals.task_postrun, _on_postrun),
        (signals.task_retry, _on_retry),
        (signals.task_failure, _on_failure),
        (signals.task_revoked, _on_revoked),
        (signals.task_internal_error, _on_internal_error),
    )
    for signal, receiver in receivers:
        signal.connect(receiver, dispatch_uid=f"redis_optimizer.ends.{receiver.__name__}")
    around_fork(after_in_child=_received.clear)


def begin_together(task: Any, held: Sequence[tuple[str, str]]) -> None:
    """Do what a start does for jobs of which the first that is traced makes a call with all.

    Args:
        task: Theirs.
        held: The key of each that runs for the first time, and its id.
    """
    locks = [(key, id) for key, id in held if mode_of(key) == "until_executing"]
    if locks:
        release_all(task.app, locks)


def _on_received(request: Any, **kwargs: Any) -> None:
    if DEDUP_HEADER in request.request_dict:
        _received[request.id] = request


def _on_prerun(sender: Any, task_id: str, **kwargs: Any) -> None:
    request = sender.request
    key = request.get(DEDUP_HEADER)
    if not key or request.retries or call_with(task_id):
        return
    if mode_of(key) == "until_executing":
        release(sender.app, key, task_id)


def _on_postrun(
    sender: Any, task_id: str, retval: Any = None, state: str | None = None, **kwargs: Any
) -> None:
    request = sender.request
    key = request.get(DEDUP_HEADER)
    if not key or goes_on(request):
        return
    # Without a state the process is being ended: the main process knows what becomes of the job.
    if state is None or state == states.RETRY or getattr(retval, "requeue", False):
        return
    if mode_of(key) == "debounce" and not has_kept(request):
        return
    _end(sender, key, task_id)


def _on_retry(sender: Any, request: Any, reason: Any = None, **kwargs: Any) -> None:
    key = request.get(DEDUP_HEADER)
    if not key:
        return
    mode = mode_of(key)
    if mode in ("until_executed", "keep_last"):
        ttl = lifetime(sender) + _delay(getattr(reason, "when", None))
        kind = "hash" if mode == "keep_last" else "string"
        extend(sender.app, key, request.id, ttl, kind=kind)
    elif has_kept(request):
        drop(sender.app, key, request.id)  # the retry carries them


def _on_failure(sender: Any, task_id: str, exception: Any = None, **kwargs: Any) -> None:
    # Of what fails while it runs, and of a Reject, `task_postrun` has told.
    if not sender.request.called_directly or isinstance(exception, Reject):
        return
    if isinstance(exception, TimeLimitExceeded) and _is_redelivered(sender):
        return
    if request := _received.pop(task_id, None):
        _end(sender, request.request_dict[DEDUP_HEADER], task_id, in_main=True)


def _on_revoked(sender: Any, request: Any, terminated: bool = False, **kwargs: Any) -> None:
    key = request.get(DEDUP_HEADER)
    if not key:
        return
    _received.pop(request.id, None)
    if mode_of(key) == "throttle" and not terminated:
        release(sender.app, key, request.id)  # it has not run
    else:
        _end(sender, key, request.id, in_main=True)


def _on_internal_error(
    sender: Any, task_id: str, request: Mapping[str, Any] | None = None, **kwargs: Any
) -> None:
    key = (request or {}).get(DEDUP_HEADER)
    if key:
        _received.pop(task_id, None)
        _end(sender, key, task_id)


def _end(task: Any, key: str, id: str, *, in_main: bool = False) -> None:
    """Do what a mode does when a job is over."""
    mode = mode_of(key)
    if mode == "keep_last":
        finish(task, key, id)
    elif mode == "debounce":
        drop(task.app, key, id)
    # Whether it had started the main process does not know.
    elif mode == "until_executed" or (mode == "until_executing" and in_main):
        release(task.app, key, id)


def _is_redelivered(task: Any) -> bool:
    """Tell whether a job that ran into its time limit goes back to the queue."""
    if not task.acks_late:
        return False
    acks = getattr(task, "acks_on_timeout", None)  # from Celery 5.7 on
    return not (task.acks_on_failure_or_timeout if acks is None else acks)


def _delay(when: Any) -> float:
    """Return the seconds until a retry is due."""
    if isinstance(when, datetime):
        return max(0.0, (when - datetime.now(UTC if when.tzinfo else None)).total_seconds())
    return max(0.0, float(when or 0))
