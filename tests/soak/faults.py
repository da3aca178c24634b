"""What goes wrong on purpose: each fault begins, lasts, and is over when its function returns."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import redis

from redis_optimizer.embedded import HOST
from tests.servers import wait_until

from .ground import Ground, Place

CHANNEL = "redis_optimizer:channel"
FULL = 64 * 1024  # bytes less than there are, or more
FILL = 4 * 1024  # bytes
STEP = 60.0  # seconds
BUSY = """
local t = redis.call('TIME')
local ends = t[1] * 1000000 + t[2] + ARGV[1] * 1000000
repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] > ends
"""


def kill(place: Place, hold: float) -> None:
    """Kill the server; what it acknowledged is on its disk (appendfsync always)."""
    place.server.kill()
    time.sleep(hold)
    place.server.restart()


def restart(place: Place, hold: float) -> None:
    """Stop the server as an operator does, and start it at once."""
    place.server.restart()


def freeze(place: Place, hold: float) -> None:
    """Suspend the server: connections stay, nothing answers."""
    place.server.freeze()
    try:
        time.sleep(hold)
    finally:
        place.server.thaw()


def unreachable(place: Place, hold: float) -> None:
    """Let nothing through for a while; what was sent arrives late."""
    assert place.proxy is not None
    place.proxy.signal(signal.SIGSTOP)
    try:
        time.sleep(hold)
    finally:
        place.proxy.signal(signal.SIGCONT)


def cut(place: Place, hold: float) -> None:
    """Break the network: connections are reset, new ones refused, what was on its way is gone."""
    assert place.proxy is not None
    place.proxy.kill()
    time.sleep(hold)
    place.connect_network()


def kill_clients(place: Place, hold: float) -> None:
    """Close all connections."""
    with place.admin() as admin:
        for kind in ("normal", "pubsub"):
            admin.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def kill_channels(place: Place, hold: float) -> None:
    """Close the connections that invalidations arrive on."""
    with place.admin() as admin:
        for client in admin.client_list():
            if client["name"].startswith(CHANNEL):
                admin.client_kill_filter(_id=client["id"])


def disk_full(place: Place, hold: float) -> None:
    """Let saving fail: the server refuses writes (MISCONF) until it succeeds."""
    in_the_way = place.server.directory / "dump.rdb"
    with place.admin() as admin:
        in_the_way.unlink(missing_ok=True)
        in_the_way.mkdir()
        try:
            admin.config_set("save", "3600 1000000")
            _save(admin, "err")
            time.sleep(hold)
        finally:
            in_the_way.rmdir()
            _save(admin, "ok")
            admin.config_set("save", "")


def _save(admin: redis.Redis, status: str) -> None:
    def is_so() -> bool:
        info = admin.info("persistence")
        if info["rdb_bgsave_in_progress"] or info["aof_rewrite_in_progress"]:
            return False
        if info["rdb_last_bgsave_status"] == status:
            return True
        admin.bgsave()
        return False

    wait_until(is_so, 30, 0.05)


def full(place: Place, hold: float) -> None:
    """Leave no memory: the server refuses writes that need some (OOM)."""
    with place.admin() as admin:
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", admin.info("memory")["used_memory"] - FULL)
        try:
            time.sleep(hold)
        finally:
            admin.config_set("maxmemory", 0)


def evicting(place: Place, hold: float) -> None:
    """Leave little memory, and write: the server evicts what was not used lately."""
    with place.admin() as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
        admin.config_set("maxmemory", admin.info("memory")["used_memory"] + FULL)
        ends = time.monotonic() + hold
        number = 0
        try:
            while time.monotonic() < ends:
                admin.set(f"ballast:{number}", "x" * FILL)
                number += 1
                time.sleep(0.005)
        finally:
            admin.config_set("maxmemory", 0)
            admin.delete(*admin.keys("ballast:*"), "ballast")


def busy(place: Place, hold: float) -> None:
    """Run a slow script: others are told BUSY."""
    with redis.Redis(HOST, place.server.port, socket_timeout=hold + 30) as client:
        client.eval(BUSY, 0, hold)


def clock_on(ground: Ground, hold: float) -> None:
    """Set the wall clock of the site's processes on, and back."""
    _step(ground, hold, STEP)


def clock_back(ground: Ground, hold: float) -> None:
    """Set the wall clock of the site's processes back, and on again."""
    _step(ground, hold, -STEP)


def _step(ground: Ground, hold: float, seconds: float) -> None:
    ground.step_clock(seconds)
    try:
        time.sleep(hold)
    finally:
        ground.step_clock(0.0)


# What each fault may meet. Evicting takes jobs away for good: nobody may do that to a broker.
BOTH = ("cache", "broker")
OF_SERVERS: dict[str, tuple[Callable[[Place, float], None], tuple[str, ...]]] = {
    "kill": (kill, BOTH),
    "restart": (restart, BOTH),
    "freeze": (freeze, BOTH),
    "unreachable": (unreachable, BOTH),
    "cut": (cut, BOTH),
    "kill_clients": (kill_clients, BOTH),
    "kill_channels": (kill_channels, BOTH),
    "disk_full": (disk_full, BOTH),
    "full": (full, BOTH),
    "evicting": (evicting, ("cache",)),
    "busy": (busy, BOTH),
}
OF_SITE: dict[str, Callable[[Ground, float], None]] = {
    "clock_on": clock_on,
    "clock_back": clock_back,
}
FAULTS = (*OF_SERVERS, *OF_SITE)


# Faults that break connections to a server. What kombu's BRPOP has taken from a queue, and has not
# handed to the worker yet, is lost with the connection: one message of each worker.
BREAKING = ("kill", "restart", "cut", "kill_clients")


@dataclass(frozen=True)
class Fault:
    """One that comes: its name, and the servers that it meets."""

    name: str
    targets: tuple[str, ...]

    @property
    def breaks_jobs(self) -> bool:
        """Tell whether it breaks the connections of workers."""
        return self.name in BREAKING and "broker" in self.targets

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.targets)})"


def deal(names: tuple[str, ...], seed: int) -> Iterator[Fault]:
    """Yield faults for ever: all of them, shuffled, before one comes again.

    The first time a fault meets every server that it may meet, one after the other; from then on
    any of them, or all.
    """
    dice = random.Random(seed)
    is_first = True
    while True:
        for name in dice.sample(names, len(names)):
            targets = OF_SERVERS[name][1] if name in OF_SERVERS else ("site",)
            if not is_first and len(targets) > 1:
                targets = dice.choice([targets, *((target,) for target in targets)])
            yield Fault(name, targets)
        is_first = False


def inflict(fault: Fault, ground: Ground, hold: float) -> None:
    """Let a fault happen, and be over."""
    if fault.name in OF_SITE:
        OF_SITE[fault.name](ground, hold)
        return
    act, _ = OF_SERVERS[fault.name]
    for target in fault.targets:
        act(ground.places[target], hold)
