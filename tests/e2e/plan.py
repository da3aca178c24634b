"""What one run of the coherence checker does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TIERED, PLAIN, RAW = "tiered", "plain", "raw"
ROLES = {
    TIERED: "redis_optimizer.cache.TieredCache",
    PLAIN: "django_redis.cache.RedisCache",
    RAW: None,  # a client of redis-py, without Django
}
PREFIX = "check"


@dataclass(frozen=True)
class Plan:
    """How many processes do what, for how long, and what is broken on purpose.

    Attributes:
        roles: One of ROLES for each process.
        threads: Threads in each process.
        keys: All of them hot; the even ones hold integers, the odd ones documents.
        seconds: How long the threads read and write.
        writes: Share of the calls that write.
        pause: Mean seconds that a thread sleeps between two calls. Threads that read their own
            memory without end leave the channel's thread no processor, and measure that.
        delay: Upper bound in seconds of the random delay between a reply and what is done with it.
        delay_share: Share of the replies to a GET that are delayed.
        heartbeat: HEARTBEAT of the tier in seconds.
        max_staleness: MAX_STALENESS of the tier in seconds.
        stale_share: Share of the reads that must stay below, on a machine that does nothing else.
        writers: The roles that write; the others only read.
        deaf: Seconds during which the channels' threads do not come to read, as in a process that
            is starved; from half a second after the start. Reads and writes go on.
        grace: Seconds between the last write and the comparison with Redis. Less than
            max_staleness, so that no entry has left the tier by its age alone.
        faults: Cut the channels, freeze the server and restart it while all that goes on.
        cluster: On three nodes instead of one server; the faults are those of a cluster.
        mutation: Name of one of `tests.e2e.mutations.MUTATIONS`.
        seed: Seed of the random choices.
        options: What overrides the OPTIONS of CACHES.
    """

    roles: tuple[str, ...] = (TIERED,) * 4
    threads: int = 4
    keys: int = 16
    seconds: float = 6.0
    writes: float = 0.08
    pause: float = 0.001
    delay: float = 0.02
    delay_share: float = 0.02
    heartbeat: float = 1.0
    max_staleness: float = 3.0
    stale_share: float = 0.01
    writers: tuple[str, ...] = tuple(ROLES)
    deaf: float = 0.0
    grace: float = 1.0
    faults: bool = False
    cluster: bool = False
    mutation: str | None = None
    seed: int = 7
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def visitors(self) -> int:
        """The number of threads in all processes together."""
        return len(self.roles) * self.threads
