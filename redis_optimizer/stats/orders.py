"""Tell every process of the site to do something, and report what each did."""

from redis_optimizer.stats.gather import TIMEOUT
from redis_optimizer.stats.gathered import Gathered
from redis_optimizer.switches import State, states

__all__ = ["clear", "flush", "read_states", "switch"]


def switch(part: str, on: bool, *, by: str = "", timeout: float = TIMEOUT) -> Gathered:
    """Switch a part on or off: in Redis for processes to come, then in every process.

    Args:
        part: See `redis_optimizer.switches.PARTS`.
        on: Whether it is to be on.
        by: Who says so; shown to operators.
        timeout: Seconds to wait for processes that do not answer.

    Returns:
        Who confirmed, in ``totals["done"]`` of each: ``{"part": ..., "on": ...}``.

    Raises:
        ValueError: there is no such part.
        redis.exceptions.RedisError, OSError: when no server could be told.
        LookupError: when no cache of this site keeps a channel.
    """
    raise NotImplementedError


def read_states() -> dict[str, State]:
    """Return the state of every part as it is kept in Redis.

    Raises:
        redis.exceptions.RedisError, OSError: when no server could be asked.
        LookupError: when no cache of this site keeps a channel.
    """
    return states()


def clear(*, only: str | None = None, timeout: float = TIMEOUT) -> Gathered:
    """Let every process let go of what it keeps of caches; Redis is left alone.

    Args:
        only: The id of the one process that is to do it, see `redis_optimizer.stats.process.facts`.
        timeout: Seconds to wait for processes that do not answer.

    Returns:
        Who did it, in ``totals["done"]`` of each: entries and aliases.
    """
    raise NotImplementedError


def flush(*, only: str | None = None, timeout: float = TIMEOUT) -> Gathered:
    """Let every process send the jobs that it holds.

    Args:
        only: The id of the one process that is to do it.
        timeout: Seconds to wait for processes that do not answer.

    Returns:
        Who did it, in ``totals["done"]`` of each: ``jobs`` that left, and those ``left`` there.
    """
    raise NotImplementedError
