"""The form of signed values, and what is told of those that are not.

To unpickle is to execute: without signatures, whoever can write to the server can run code in the
site. A value is signed for its final key, so that it is none under another. Members of sets, sorted
sets and hashes are signed for any key: commands such as SUNIONSTORE carry them about.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from django.utils.crypto import constant_time_compare

from redis_optimizer.signatures import signatures

__all__ = ["HEAD", "Refusals", "seal", "unseal"]

logger = logging.getLogger("redis_optimizer.cache")

HEAD: Final = b"N.\x01"
"""What a signed value begins with. To unpickle it gives None, whatever follows: that is what a
process without SIGNED reads, and no error. The last byte is the version of the form."""

PREFIX: Final = len(HEAD) + 32  # bytes: HMAC-SHA256 follows
WARN_EVERY: Final = 60.0  # seconds


def seal(data: bytes, final: str | None) -> bytes:
    """Sign what is to be stored.

    Args:
        data: Serialized and compressed.
        final: The final key; None for a member of one.

    Raises:
        ImproperlyConfigured: the site has no SECRET_KEY.
    """
    return HEAD + next(signatures(_salt(final), data)) + data


def unseal(sealed: bytes, final: str | None) -> bytes | None:
    """Return what a process of this site has signed for a key, or None if it is something else."""
    if sealed.startswith(HEAD):
        signature, data = sealed[len(HEAD) : PREFIX], sealed[PREFIX:]
        for valid in signatures(_salt(final), data):
            if constant_time_compare(signature, valid):
                return data
    return None


def _salt(final: str | None) -> str:
    kind = "member" if final is None else f"value:{final}"
    return f"redis_optimizer.cache.{kind}"


class Refusals:
    """What one cache of this process did not take for a value, as it is not signed.

    Args:
        aliases: Finds the aliases that it has.
        now: Clock in seconds; must be monotonic.
    """

    def __init__(
        self,
        aliases: Callable[[], Iterable[str]] = list,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._aliases = aliases
        self._now = now
        self.reset()

    def reset(self) -> None:
        """Begin anew, as in a forked child."""
        self._lock = threading.Lock()
        self._quiet_until = float("-inf")
        self.count = 0

    def note(self) -> None:
        """Count one, and warn of it once a minute at most."""
        with self._lock:
            self.count += 1
            now = self._now()
            if now < self._quiet_until:
                return
            self._quiet_until = now + WARN_EVERY
        names = ", ".join(f'CACHES["{alias}"]' for alias in self._aliases()) or "A cache"
        logger.warning(
            "%s holds a value that is not signed with the SECRET_KEY of this site: it counts as "
            "none until it is set again. Values from before SIGNED was switched on are like that. "
            "Otherwise processes have different keys: list them in SECRET_KEY_FALLBACKS. Or "
            "somebody else writes to the server.",
            names,
        )
