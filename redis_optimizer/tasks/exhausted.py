"""A job of an envelope that raises MemoryError is settled, as any other that fails.

Celery's request raises that anew in the worker's main process, before it acknowledges the job. Most
pools drop it there, and the job would keep its envelope, and its place in the window of its lane,
for good; those of processes end the worker, and each job that is sent again would end the next one.
"""

import logging
from typing import Any, Final

from celery import signals

from redis_optimizer.tasks.opened import JobMessage

__all__ = ["settling"]

logger = logging.getLogger(__name__)

MADE: Final = "redis_optimizer_settling"
"""The attribute of a class of requests that holds the one that settles."""


def settling(kind: Any) -> Any:
    """Return a class of requests that settle such jobs.

    Args:
        kind: The class that requests of the task have; one of these is returned as it is.
    """
    if hasattr(kind, "settles"):
        return kind
    # Kept by the class itself: Celery makes others for each connection to the broker.
    made = vars(kind).get(MADE)
    if made is None:
        made = _make(kind)
        setattr(kind, MADE, made)
    return made


def _make(kind: Any) -> Any:
    class Settling(kind):  # type: ignore[misc]  # a request of Celery's, or the task's own
        __slots__ = ()  # else a request that is made cannot become one
        settles = True

        def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> None:
            try:
                super().on_failure(exc_info, *args, **kwargs)
            except MemoryError as error:
                _settle(self, exc_info, error, has_result=kwargs.get("return_ok", False))

    Settling.__name__ = kind.__name__  # by which it is logged
    return Settling


def _settle(request: Any, exc_info: Any, error: MemoryError, has_result: bool) -> None:
    logger.error("Job %s of task %s took too much memory: %s", request.id, request.name, error)
    if has_result:
        request.acknowledge()
        request.send_event("task-failed", exception=repr(error), traceback=exc_info.traceback)
    else:  # it was not traced to its end; alone it meets what it would have met without us
        request.reject(requeue=True)


def _on_received(request: Any, **kwargs: Any) -> None:
    # Celery's strategies make requests of a class of their own, and take no other.
    if isinstance(request.message, JobMessage):
        kind: Any = type(request)
        request.__class__ = settling(kind)


signals.task_received.connect(_on_received, dispatch_uid="redis_optimizer.exhausted")
