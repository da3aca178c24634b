"""STALE_IF_ERROR: what was known before takes the place of an answer that Redis does not give."""

from collections.abc import Callable, Collection
from typing import Any

from redis.exceptions import RedisError

from redis_optimizer.cache.outage import noted
from redis_optimizer.cache.tier import Tier
from redis_optimizer.core.store import Entry

__all__ = ["ask_or_recall"]


def ask_or_recall(
    tier: Tier, ask: Callable[[], Any], finals: Collection[str]
) -> tuple[Any, dict[str, Entry]]:
    """Ask Redis, and where it does not answer, find what was known before.

    Args:
        tier: Of the cache; its commands go through a guard.
        ask: Reads, in this thread.
        finals: The final keys that it is about.

    Returns:
        The answer, and what takes its place: nothing, where Redis gave it.

    Raises:
        Exception: Whatever ``ask`` raises, unless something was known of each key.
    """
    entries = tier.store.entries
    before = {final: entries.get(final) for final in finals}
    with noted() as outcome:
        try:
            answer = ask()
        except (RedisError, OSError) as error:
            stale = tier.recall(finals) if outcome.failed_at is not None else {}
            if len(stale) < len(finals):
                raise
            # django-redis made a circle of two errors, with all their frames: 48 objects of each
            # read would wait for the garbage collector, and pages now and then for it.
            error.__context__ = None
            answer = None
        else:
            if outcome.failed_at is None:
                tier.store.settle(before)
                return answer, {}
            stale = tier.recall(finals)  # the failure was ignored
    if outcome.failed_at is not None:
        outcome.failed_at.stale_served += len(stale)
    tier.stale_served += len(stale)
    return answer, stale
