"""How many results of a task are kept, and how long the others last."""

from dataclasses import dataclass
from typing import Any, Final

from celery import states
from kombu.utils.encoding import bytes_to_str

from redis_optimizer.conf import get_settings

__all__ = ["GRACE", "KINDS", "Retention", "key_of_kept", "limit_of", "prefix_of", "retention_of"]

GRACE: Final = 60
"""Seconds that a result lasts when newer ones have taken its place: whoever waits for it reads it
at once, so it must not vanish under his hands."""

KINDS: Final = {
    states.SUCCESS: states.SUCCESS,
    states.FAILURE: states.FAILURE,
    states.REVOKED: states.FAILURE,
}
"""The state under which a result of a state is counted. What is not here is not final."""

_SETTINGS: Final = {states.SUCCESS: "KEEP_SUCCEEDED", states.FAILURE: "KEEP_FAILED"}


@dataclass(frozen=True, slots=True)
class Retention:
    """What a result is counted under.

    Attributes:
        task: The task's name.
        kind: SUCCESS or FAILURE.
        limit: How many of them are kept.
    """

    task: str
    kind: str
    limit: int


def retention_of(app: Any, state: str, request: Any) -> Retention | None:
    """Return what a result is counted under.

    Args:
        app: The Celery app.
        state: The result's state.
        request: The job's request, or None where Celery stores a result without one.

    Returns:
        None when it is not counted and lasts as long as ``result_expires`` says: it is not final,
        belongs to a group or a chord, or all results of its task are kept.
    """
    kind, task = KINDS.get(state), getattr(request, "task", None)
    if kind is None or not task:
        return None
    if getattr(request, "group", None) or getattr(request, "chord", None):
        return None
    limit = limit_of(app, task, kind)
    return Retention(task, kind, limit) if limit else None


def limit_of(app: Any, task: str, kind: str) -> int:
    """Return how many results of a kind are kept for a task; 0 stands for all.

    ``keep_succeeded`` and ``keep_failed`` of the task, else the settings.
    """
    setting = _SETTINGS[kind]
    own: int | None = getattr(app.tasks.get(task), setting.lower(), None)
    default: int = getattr(get_settings(), setting)
    return default if own is None else own


def prefix_of(backend: Any) -> str:
    """Return what a backend puts before its keys: ``global_keyprefix``, as Celery writes it."""
    own: str = bytes_to_str(type(backend).task_keyprefix)
    prefix: str = bytes_to_str(backend.task_keyprefix)
    return prefix.removesuffix(own)


def key_of_kept(task: str, kind: str, prefix: str = "") -> str:
    """Return the key of the list of a task's kept results in Redis, the newest first.

    Args:
        task: Its name.
        kind: SUCCESS or FAILURE.
        prefix: That of the backend.
    """
    return f"{prefix}redis_optimizer:{get_settings().NAMESPACE}:kept:{task}:{kind}"
