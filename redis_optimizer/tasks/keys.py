"""What makes two calls of a task equal."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ImproperlyConfigured
from kombu.utils.json import JSONEncoder

from redis_optimizer.tasks.names import root

if TYPE_CHECKING:
    from redis_optimizer.tasks.base import OptimizedTask

__all__ = ["check_names", "condition", "key_of", "mode_of"]

DIGEST_BYTES: Final = 16


class Encoder(JSONEncoder):
    """What Celery's JSON takes, and a `timedelta`, which Django's takes."""

    def default(self, o: Any) -> Any:
        """Return something that JSON has a form for."""
        if isinstance(o, timedelta):
            return {"__type__": "timedelta", "__value__": str(o)}
        return super().default(o)


def key_of(task: "OptimizedTask", args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return the key under which equal calls of a task meet, in whatever process they are made.

    Args:
        task: With its options `dedup` and `dedup_on`.
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.

    Raises:
        TypeError: when the arguments do not fit the task, or when one that counts has no form that
            is the same in every process; the message names it.
    """
    chosen = condition(task)
    if callable(chosen):
        parts = {"the result of dedup_on": chosen(*args, **kwargs)}
    else:
        parts = _arguments(task, args, kwargs, chosen)
    written = {name: _write(task, name, value) for name, value in parts.items()}
    canonical = json.dumps(written, sort_keys=True).encode()
    digest = hashlib.blake2b(canonical, digest_size=DIGEST_BYTES).hexdigest()
    # With the mode, so that a deployment that changes it does not meet locks of another shape.
    return f"{root(task.app)}dedup:{task.name}:{task.dedup}-{digest}"


def mode_of(key: str) -> str:
    """Return the mode of the task that a key was made for."""
    return key.rpartition(":")[2].partition("-")[0]


def check_names(task: "OptimizedTask | type[OptimizedTask]") -> None:
    """Check that `dedup_on` is a callable, or names arguments of a task.

    Raises:
        ImproperlyConfigured: when it does not; the message names the task and the argument.
    """
    chosen = condition(task)
    if chosen is None or callable(chosen):
        return
    parameters = _signature(task).parameters.values()
    known = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if task.bulk:
        raise ImproperlyConfigured(
            f"Task {task.name}: dedup_on cannot name arguments of a bulk task, whose function "
            "takes jobs. Make it a function of the arguments, or None for all of them."
        )
    if not chosen:
        raise ImproperlyConfigured(
            f"Task {task.name}: dedup_on names no argument. None stands for all of them."
        )
    for name in chosen:
        if name not in known and not takes_any:
            raise ImproperlyConfigured(
                f"Task {task.name}: dedup_on names {name!r}, which is none of its arguments "
                f"({', '.join(known)})."
            )


def condition(task: "OptimizedTask | type[OptimizedTask]") -> Any:
    """Return `dedup_on` as it was given: a callable, a sequence of names or None."""
    chosen: Any = task.dedup_on
    if isinstance(chosen, str):
        return (chosen,)
    # A function among the attributes of a class is a method of its instances. Equal: by Celery's
    # proxies a task is not itself.
    if getattr(chosen, "__self__", None) == task:
        return chosen.__func__
    return chosen


def _arguments(
    task: "OptimizedTask", args: Sequence[Any], kwargs: Mapping[str, Any], names: Any
) -> dict[str, Any]:
    signature = _signature(task)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        if task.typing:
            raise TypeError(f"{task.name}: {error}") from None
        return {"args": args, "kwargs": kwargs}  # the names of positional ones are not known
    bound.apply_defaults()
    found = dict(bound.arguments)
    if names is None:
        return found
    extra = [p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD]
    for name in extra:
        found |= found.pop(name)
    return {name: found.get(name) for name in names}


def _signature(task: "OptimizedTask | type[OptimizedTask]") -> inspect.Signature:
    if not isinstance(task, type):
        return _signature_of(task.run)
    run = inspect.getattr_static(task, "run")
    signature = inspect.signature(task.run)
    if isinstance(run, staticmethod):
        return signature
    return signature.replace(parameters=list(signature.parameters.values())[1:])


@cache
def _signature_of(run: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(run)


def _write(task: "OptimizedTask", name: str, value: Any) -> str:
    try:
        return json.dumps(value, cls=Encoder, sort_keys=True)
    except (RecursionError, TypeError, ValueError) as error:
        raise TypeError(
            f"Task {task.name}: {name!r} has no form that is the same in every process, which "
            f"dedup needs: {error}. Let dedup_on name other arguments, or be a function of them."
        ) from error
