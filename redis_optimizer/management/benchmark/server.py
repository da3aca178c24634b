"""What the server itself says: its name, and the commands that it counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import redis


class CommandCounter:
    """Reads the server's own count of the commands that it ran.

    Args:
        client: a connection of ours; what it sends is subtracted.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._last: Counter[str] = Counter()
        self.lap()

    def lap(self) -> Counter[str]:
        """Return the commands counted since the last call, by name."""
        now = Counter(
            {
                _name(field): int(stats["calls"])
                for field, stats in self._info("commandstats").items()
            }
        )
        # The server counts a command when it is done: the INFO that took the last reading is in
        # this one.
        passed = now - self._last - Counter(INFO=1)
        self._last = now
        return passed

    def describe(self) -> str:
        """Return the server's name and version."""
        info = self._info("server")
        self._last["INFO"] += 1
        if "valkey_version" in info:
            return f"Valkey {info['valkey_version']}"
        return f"Redis {info['redis_version']}"

    def _info(self, section: str) -> dict[str, Any]:
        return self._client.info(section)


def _name(field: str) -> str:
    """Turn `cmdstat_client|setinfo` into `CLIENT SETINFO`."""
    return field.removeprefix("cmdstat_").replace("|", " ").upper()
