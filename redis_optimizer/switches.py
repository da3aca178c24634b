"""Which parts are switched on at run time: what this process knows.

``REDIS_OPTIMIZER["ENABLED"]`` rules: a part that it has off stays off, whatever is said here. How
the processes of a site tell each other: `redis_optimizer.stats.orders`.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from redis_optimizer.conf import get_settings
from redis_optimizer.core.forks import around_fork
from redis_optimizer.signals import switched

__all__ = [
    "DESCRIPTIONS",
    "NEVER",
    "PARTS",
    "State",
    "is_on",
    "latest",
    "learn",
    "on_change",
    "reset",
    "states",
]

logger = logging.getLogger("redis_optimizer.switches")


def gettext_noop(message: str) -> str:
    """Mark a text for translation. Django's own asks for settings, which need not be there yet."""
    return message


DESCRIPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cache": gettext_noop("Reads that the process answers; off, all go to Redis."),
        "batching": gettext_noop("Jobs that leave together; off, each is sent at once."),
        "dedup": gettext_noop("Calls that are one job; off, each call is a job of its own."),
        "results": gettext_noop(
            "Results that cost less and are pruned; off, they are stored as Celery does."
        ),
        "endpoints": gettext_noop(
            "Views and verdicts that are remembered; off, each call runs them."
        ),
    }
)
"""What each part does, in a line."""

PARTS: Final = tuple(DESCRIPTIONS)


@dataclass(frozen=True, slots=True)
class State:
    """What was last said of a part.

    Args:
        on: Whether it is switched on.
        at: When that was said, in seconds since the epoch; 0 when nobody has said anything.
        by: Who said so.
    """

    on: bool = True
    at: float = 0.0
    by: str = ""


NEVER: Final = State()
"""That of a part of which nobody has said anything."""

_lock = threading.RLock()
_states: dict[str, State] = {}
_off: frozenset[str] = frozenset()
_watchers: dict[str, list[Callable[[], None]]] = {}


def is_on(part: str) -> bool:
    """Tell whether a part is to do its work: neither the settings nor an operator have it off."""
    return part not in _off and get_settings().ENABLED


def states() -> dict[str, State]:
    """Return what this process knows, for every part."""
    known = dict(_states)
    return {part: known.get(part, NEVER) for part in PARTS}


def latest(heard: Iterable[Mapping[str, State]]) -> dict[str, State]:
    """Return what was said last, for every part.

    Args:
        heard: States by part, from several places.
    """
    found = dict.fromkeys(PARTS, NEVER)
    for each in heard:
        for part, known in found.items():
            found[part] = max(known, each.get(part, NEVER), key=lambda state: state.at)
    return found


def learn(heard: Mapping[str, State]) -> list[str]:
    """Take note of what was said; of each part, what was said last counts.

    Args:
        heard: States by part; those of parts that are not known here are left alone.

    Returns:
        The parts that were switched by it.
    """
    global _off
    with _lock:  # what is done at a change is done in the order of the changes
        changed = []
        for part in PARTS:
            known, state = _states.get(part, NEVER), heard.get(part, NEVER)
            if state.at <= known.at:
                continue
            _states[part] = state
            if state.on != known.on:
                changed.append(part)
        _off = _find_off()
        for part in changed:
            _tell(part, _states[part])
    return changed


def on_change(part: str, act: Callable[[], None]) -> None:
    """Have a function called when a part was switched; it asks `is_on` what to do.

    It is called from the thread that heard of it, which also hears of writes, so it must be quick.
    """
    _watchers.setdefault(part, []).append(act)


def reset() -> None:
    """Forget what was said, as tests do; who waits for changes is told."""
    global _off
    with _lock:
        changed, _off = _off, frozenset()
        _states.clear()
        for part in changed:
            _call(part)


def _find_off() -> frozenset[str]:
    return frozenset(part for part, state in _states.items() if not state.on)


def _tell(part: str, state: State) -> None:
    _call(part)
    switched.send_robust(sender=State, part=part, on=state.on, by=state.by)


def _call(part: str) -> None:
    for act in _watchers.get(part, ()):
        try:
            act()
        except Exception:
            logger.exception("The part %r could not be switched at once.", part)


def _after_fork_in_child() -> None:
    # Another thread of the parent may have held the old lock, and been half-way through.
    global _lock, _off
    _lock = threading.RLock()
    _off = _find_off()


around_fork(after_in_child=_after_fork_in_child)
