"""A subscriber that notes what a channel tells it."""

from collections.abc import Iterable
from typing import Any

import redis

from tests.servers import wait_until


class Listener:
    """Notes each call of the channel, in order.

    Args:
        client: to write the probe with.
        prefixes: of the keys it wants to hear of.
        heartbeat, max_staleness: in seconds.
    """

    def __init__(
        self,
        client: redis.Redis,
        *prefixes: str,
        heartbeat: float = 60,
        max_staleness: float = 121,
    ) -> None:
        self.client = client
        self.prefixes = prefixes or ("t:",)
        self.heartbeat = heartbeat
        self.max_staleness = max_staleness
        self.events: list[tuple[str, Any]] = []
        self.probes: list[str] = []
        self.read = 0

    def reads(self) -> int:
        return self.read

    def prove(self, key: str) -> str:
        self.probes.append(key)
        self.client.set(key, "", px=1000)
        return key

    def on_up(self, valid_until: float) -> None:
        self.events.append(("up", valid_until))

    def on_alive(self, valid_until: float) -> None:
        self.events.append(("alive", valid_until))

    def on_invalidated(self, keys: Iterable[str] | None) -> None:
        self.events.append(("invalidated", keys))

    def on_down(self) -> None:
        self.events.append(("down", None))

    def on_refused(self, reason: str) -> None:
        self.events.append(("refused", reason))

    def count(self, name: str) -> int:
        return sum(event == name for event, _ in self.events)

    def last(self, name: str) -> Any:
        return [value for event, value in self.events if event == name][-1]

    def wait(self, name: str, times: int = 1) -> None:
        """Wait until it was told so this often."""
        wait_until(lambda: self.count(name) >= times)

    def heard(self) -> list[str]:
        """Return the keys that it was told of, but for probes."""
        keys = [key for name, found in self.events if name == "invalidated" for key in found or ()]
        return [key for key in keys if "redis_optimizer:probe" not in key]

    def wait_heard(self, *keys: str) -> None:
        """Wait until it was told of these keys."""
        wait_until(lambda: set(keys) <= set(self.heard()))
