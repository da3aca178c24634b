"""Count commands as the server itself does."""

from collections import Counter
from typing import Self

import redis


class CommandCounter:
    """The server's `INFO commandstats`, read as differences.

    It counts every client of the server, and commands that run inside Lua and MULTI too. The INFO
    that reads it is left out.
    """

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, decode_responses=True)
        self._before = self._read()

    def restart(self) -> None:
        """Count from here."""
        self._before = self._read()

    def count(self) -> Counter[str]:
        """Return how often each command was called since the start, by its name."""
        return self._read() - self._before

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._client.close()

    def _read(self) -> Counter[str]:
        stats = self._client.info("commandstats")
        calls = {
            name.removeprefix("cmdstat_").replace("|", " ").upper(): values["calls"]
            for name, values in stats.items()
        }
        calls.pop("INFO", None)
        return Counter(calls)
