"""An index of entries by what follows a prefix of their keys."""

from collections.abc import Mapping
from typing import Generic, TypeVar

__all__ = ["PrefixIndex"]

T = TypeVar("T")


class PrefixIndex(Generic[T]):
    """Find entries by the short keys that a site uses, next to the mapping that has the final ones.

    A cache puts the same few characters before each of its keys. Who reads by the short key need
    neither put them there nor hash what that makes: a fifth of a hit.

    Not thread-safe: its owner holds the lock. Readers of what :meth:`under` returned need none. An
    entry must be dead before it is removed: what interrupts its owner may leave it here.
    """

    def __init__(self) -> None:
        self._under: dict[str, dict[str, T]] = {}

    def under(self, prefix: str, entries: Mapping[str, T]) -> Mapping[str, T]:
        """Return the entries whose keys begin with ``prefix``, by the rest of the key.

        Args:
            prefix: What is put before a short key to make a final one.
            entries: All that there are now, by final key.

        Returns:
            A mapping that :meth:`put` and :meth:`remove` keep up to date.
        """
        if prefix not in self._under:
            cut = len(prefix)
            kept = list(entries.items())
            under = {key[cut:]: entry for key, entry in kept if key.startswith(prefix)}
            # Not in place: a finalizer that the GC runs may come here while put() goes through it.
            # Nor over what one has made meanwhile.
            self._under = {prefix: under, **self._under}
        return self._under[prefix]

    def put(self, key: str, entry: T) -> None:
        """Take note of a new entry, in place of the one that the key had."""
        for prefix, under in self._under.items():
            if key.startswith(prefix):
                under[key[len(prefix) :]] = entry

    def remove(self, key: str) -> None:
        """Take note that an entry is gone."""
        for prefix, under in self._under.items():
            if key.startswith(prefix):
                under.pop(key[len(prefix) :], None)
