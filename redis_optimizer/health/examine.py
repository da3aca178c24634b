"""Run one check, and say what came of it, whatever it does."""

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from asgiref.sync import ThreadSensitiveContext, sync_to_async

from redis_optimizer.health.base import Check, Defect, Degraded
from redis_optimizer.health.report import Observation, Result, Status
from redis_optimizer.health.threads import close_connections

__all__ = ["describe", "examine", "worst"]

LONGEST_TEXT: Final = 500  # characters of an error, or of a text that was observed
MOST_OBSERVED: Final = 50  # observations of one check


def examine(check: Check, now: Callable[[], float], clock: Callable[[], float]) -> Result:
    """Run ``check`` in this thread.

    Args:
        check: What to run; its ``run`` may be a coroutine function.
        now: Clock in seconds; must be monotonic.
        clock: Seconds since the epoch.
    """
    began = now()
    status, is_defect = worst(check), False
    observed: dict[str, Observation] = {}
    try:
        status, observed, error = _ask(check)
    except Defect as defect:
        error, is_defect = describe(defect, named=False), True
    except Exception as failure:
        error = describe(failure)
    except BaseException as misuse:
        # SystemExit, say. It ends this thread alone, and tells nothing of what was to be checked.
        error, is_defect = describe(misuse), True
    return Result(
        check.name, check.component, status, now() - began, clock(), observed, error, is_defect
    )


def worst(check: Check) -> Status:
    """Return the status of a check that fails."""
    return Status.FAILING if check.critical else Status.DEGRADED


def describe(error: BaseException, *, named: bool = True) -> str:
    """Return what is shown of an error.

    Args:
        error: What was raised.
        named: Put its type first.
    """
    try:
        text = str(error)
    except Exception:
        text = ""
    name = type(error).__name__
    if named or not text:
        text = f"{name}: {text}" if text else name
    return _shorten(text)


def _ask(check: Check) -> tuple[Status, dict[str, Observation], str]:
    try:
        seen: Any = check.run()
        if inspect.isawaitable(seen):
            seen = asyncio.run(_finish(seen))
    except Degraded as reason:
        return Status.DEGRADED, _observations(reason.observed), describe(reason, named=False)
    return Status.OK, _observations(seen), ""


async def _finish(seen: Awaitable[Any]) -> Any:
    # Else what is sensitive to threads, as the ORM is, would run in the one thread that all such
    # coroutines of the process share: one that hangs there would hold up the others.
    async with ThreadSensitiveContext():
        try:
            return await seen
        finally:
            await sync_to_async(close_connections)()


def _observations(seen: object) -> dict[str, Observation]:
    if seen is None:
        return {}
    if not isinstance(seen, Mapping):
        raise Defect(f"It returned a value of type {type(seen).__name__}, not a mapping or None.")
    if len(seen) > MOST_OBSERVED:
        raise Defect(f"It returned {len(seen)} observations; {MOST_OBSERVED} are allowed.")
    return {_name(name): _observation(name, value) for name, value in seen.items()}


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise Defect(f"It returned an observation with the name {name!r}, which is not a string.")
    return _shorten(name)


def _observation(name: str, given: object) -> Observation:
    value, unit = given if isinstance(given, Observation) else (given, "")
    if isinstance(value, str) and isinstance(unit, str):
        return Observation(_shorten(value), unit)
    # Bounded, for that is what JSON can hold; nan is not within the bounds.
    bound = sys.float_info.max
    if isinstance(value, int | float) and -bound <= value <= bound and isinstance(unit, str):
        return Observation(value, unit)
    raise Defect(
        f"It returned {name!r} as {_shorten(repr(given))}, which is neither a finite number nor a "
        "string, nor an Observation of one."
    )


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
