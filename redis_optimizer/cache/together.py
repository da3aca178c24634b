"""What ``get_or_set`` lost lately is read again together with the next key that it misses.

A key that was written, here or elsewhere, or that expired is let go of, and whoever reads it next
asks Redis. Where several are gone, whoever comes first asks for all of them by one command. It is
that of ``get_many``, so nothing is kept that could not be kept after a call of that.
"""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Final

from django_redis.exceptions import ConnectionInterrupted
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from redis_optimizer.core.limits import pass_time_limit
from redis_optimizer.core.store import MISSING, Entry
from redis_optimizer.nodes import ClusterChannel

if TYPE_CHECKING:
    from redis_optimizer.cache.tier import Tier
    from redis_optimizer.cache.tiered import TieredCache

__all__ = ["LARGEST", "Known", "read"]

REMEMBERED: Final = 64
"""Keys of a tier of which it is known that they were lost."""

LARGEST: Final = 4096
"""Bytes of a value that is brought along, and of what is kept of it."""


class Known:
    """Keys that ``get_or_set`` of one tier has asked for, the last one at the end.

    What is brought along and then not read is forgotten, until it is asked for again: so no more
    values are brought for nothing than are asked for.
    """

    def __init__(self) -> None:
        # No lock, which a fork might copy while it is held: no step needs another one.
        self.keys: dict[str, tuple[str, Entry | None]] = {}
        self.is_refused = False

    def ask(self, final: str, key: str) -> None:
        """Take note of a key that is asked for."""
        self.keys.pop(final, None)
        self.keys[final] = (key, None)
        if len(self.keys) > REMEMBERED:
            self.keys.pop(next(iter(list(self.keys)), ""), None)  # another thread may clear them

    def lost(
        self, cache: "TieredCache", tier: "Tier", version: int | None
    ) -> Iterator[tuple[str, str]]:
        """Yield the keys of a version that are kept no more, final and as named, last one first."""
        # A list of pairs takes memory for each: before Python 3.12 the garbage collector might run
        # in the middle, and with it what changes the keys. A copy is made at once.
        for final, (key, brought) in reversed(self.keys.copy().items()):
            if final in tier.store.entries:  # or has expired there, and is read with its TTL
                continue
            if brought is not None and not brought.hot:
                self.forget(final)
            elif cache.client.make_key(key, version=version) == final:
                yield final, key

    def bring(self, final: str, key: str, entry: Entry | None) -> None:
        """Take note of what was brought along."""
        if entry is None or entry.size > LARGEST:
            self.forget(final)
        elif final in self.keys:  # else it was forgotten meanwhile
            self.keys[final] = (key, entry)

    def forget(self, final: str) -> None:
        """Bring a key along no more, until it is asked for again."""
        self.keys.pop(final, None)


def read(cache: "TieredCache", tier: "Tier", final: str, key: Any, version: int | None) -> Any:
    """Return what Redis holds of a key, and keep what was lost lately again.

    Args:
        cache: The backend.
        tier: Its tier.
        final: The final key.
        key: The key as the site names it.
        version: The key's version, as Django's ``version``.

    Returns:
        The value, or MISSING.
    """
    if not _may_bring(tier, final, key):
        return cache.get(key, MISSING, version)
    known = tier.known
    others: dict[str, str] = {}
    if final not in tier.store.entries and not known.is_refused:
        for its, other in known.lost(cache, tier, version):
            if its != final:
                others[its] = other
            if len(others) >= tier.options.REREAD_MANY:
                break
    known.ask(final, key)
    found = _read_all(cache, tier, {final: key, **others}, version, others) if others else None
    if found is None:
        try:
            value = cache.get(key, MISSING, version)
        except Exception:  # it would fail with others, too
            known.forget(final)
            raise
    else:
        value = found.get(key, MISSING)
        for its, other in others.items():
            known.bring(its, other, tier.store.entries.get(its))
    entry = tier.store.entries.get(final)
    # A value that is not kept may be too large for that, or change all the time.
    if entry.size > LARGEST if entry is not None else value is not MISSING:
        known.forget(final)
    return value


def _may_bring(tier: "Tier", final: str, key: Any) -> bool:
    options = tier.options
    return (
        options.REREAD_MANY > 0
        and key.__class__ is str
        and tier.hears_of(final)
        # get_many asks for no TTL.
        and options.EXACT_TTL is not True
        and (options.exclude is None or options.exclude.match(key) is None)
        # There it would be one command for each slot.
        and not isinstance(tier.channel, ClusterChannel)
    )


def _read_all(
    cache: "TieredCache",
    tier: "Tier",
    absent: dict[str, str],
    version: int | None,
    brought: Collection[str],
) -> dict[str, Any] | None:
    """Return what is there of a key and those brought; None where it must be read alone."""
    known = tier.known
    try:
        found: dict[str, Any] = cache.read_along(absent, version, brought)
    except Exception as error:
        pass_time_limit(error)
        cause = error.__cause__ if isinstance(error, ConnectionInterrupted) else error
        if isinstance(cause, NoPermissionError):
            known.is_refused = True  # MGET is another command than GET
        elif isinstance(cause, RedisError | OSError) and not isinstance(cause, ResponseError):
            raise
        else:  # one of the others cannot be read, which is no fault of this one
            known.keys.clear()
        return None
    if found or any(each in tier.store.entries for each in absent):
        return found
    # Nothing is there, and that is not known of any: it may be an error that the site ignores.
    known.keys.clear()
    return None
