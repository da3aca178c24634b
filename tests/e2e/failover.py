"""How long caches under Sentinel are away when the primary is lost, and how stale they are then.

``python -m tests.e2e.failover`` prints it, with the defaults of the tier.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import redis

from redis_optimizer.embedded import EmbeddedServer
from tests.cache.caches import channels
from tests.servers import SentinelGroup, connect, sentinel, wait_until
from tests.tasks.processes import ROOT

from .failover_process import LAST, PREFIX, Plan, Write

PATIENT = 60.0  # seconds
KEYS = {"tiered": "number", "plain": "plain"}
PUBLISH = 2.0
"""Seconds after which the Sentinels tell each other what they know, as they do by default."""


@dataclass(frozen=True)
class Outcome:
    """What one failover did.

    Attributes:
        stale: Seconds that the oldest value read had been replaced for.
        away: Seconds from the failure until a write through a cache was taken by the new primary.
        lost: Writes of a cache that the old primary acknowledged and the new one has not seen.
        hits: Reads that the reading process answered by itself, of `reads`.
    """

    stale: float
    away: dict[str, float]
    lost: dict[str, int]
    reads: int
    hits: int


def kill(group: SentinelGroup) -> None:
    """Kill the primary."""
    group.primary.kill()


def freeze(group: SentinelGroup) -> None:
    """Freeze the primary: its connections stay open, and nothing answers."""
    group.primary.freeze()


def replace(group: SentinelGroup) -> None:
    """Have Sentinel name another primary, while the old one goes on answering.

    The Sentinels tell an old primary what it is after four times `PUBLISH`; until then it takes
    commands as before.
    """
    for one in group.sentinels:
        with connect(one) as each:
            each.execute_command("SENTINEL DEBUG", "publish-period", int(PUBLISH * 1000))
    with connect(group.sentinels[0]) as client:
        # It is refused until that Sentinel knows that the replica is well.
        wait_until(lambda: client.execute_command("SENTINEL FAILOVER", group.name), PATIENT, 0.1)


FAILURES: dict[str, Callable[[SentinelGroup], None]] = {
    "killed": kill,
    "frozen": freeze,
    "replaced": replace,
}


def run(failure: str, l1: dict[str, Any]) -> Outcome:
    """Read and write in two processes while the primary is lost.

    Args:
        failure: One of `FAILURES`.
        l1: OPTIONS["L1"] of both processes.
    """
    with sentinel() as group, connect(group.replica) as replica:
        plan = Plan(group.name, group.addresses, timeout=1.0, l1=l1)
        with process("read", plan) as reader, process("write", plan) as writer:
            wait_until(lambda: replica.exists(f"{PREFIX}:1:number:10"), PATIENT)
            failed = time.monotonic()
            FAILURES[failure](group)
            wait_until(lambda: replica.info("replication")["role"] == "master", PATIENT)
            before = {alias: _number(replica, key) for alias, key in KEYS.items()}
            for one in group.sentinels:
                wait_until(lambda one=one: _names(one, group), PATIENT)
            # Somebody comes who knows no other primary.
            replica.set(f"{PREFIX}:1:news", 1)
            news = [(time.monotonic(), 1)]

            def is_over() -> bool:
                heard = {each["name"] for each in channels(replica)}
                writes = (_number(replica, key) > before[alias] for alias, key in KEYS.items())
                return f"redis_optimizer:channel:{reader.pid}" in heard and all(writes)

            wait_until(is_over, PATIENT, 0.1)
            wrote = told(writer)
            # Whoever hears the new primary hears of this, too.
            replica.set(f"{PREFIX}:1:news", LAST)
            news.append((time.monotonic(), LAST))
            read = told(reader, goes_on=True)
        # What the new primary has not seen is lost, and replaces nothing.
        kept = {}
        for alias, key in KEYS.items():
            seen = _seen(replica, key)
            kept[alias] = [write for write in wrote[alias] if write[1] in seen]
        group.primary.thaw()
    return Outcome(
        stale=max(
            _staleness([(began, number) for began, number, _ in read["calls"]], kept["tiered"]),
            _staleness([(began, seen) for began, _, seen in read["calls"]], news),
        ),
        away={alias: _longest_gap(failed, writes) for alias, writes in kept.items()},
        lost={alias: len(wrote[alias]) - len(kept[alias]) for alias in KEYS},
        reads=len(read["calls"]),
        hits=read["hits"],
    )


@contextlib.contextmanager
def process(role: str, plan: Plan) -> Iterator[subprocess.Popen[str]]:
    """Run a process of :mod:`tests.e2e.failover_process` that is ready."""
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.failover_process", role, plan.as_json()],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        yield started
    finally:
        started.kill()
        with started:
            pass


def told(started: subprocess.Popen[str], *, goes_on: bool = False) -> dict[str, Any]:
    """Return what a process did; it is told to end, unless it goes on until it does so itself."""
    assert started.stdout is not None
    output = started.stdout.read() if goes_on else started.communicate(timeout=PATIENT)[0]
    calls: dict[str, Any] = json.loads(output)
    return calls


def _number(server: redis.Redis, key: str) -> int:
    return int(server.get(f"{PREFIX}:1:{key}") or 0)  # type: ignore[arg-type]


def _seen(server: redis.Redis, key: str) -> set[int]:
    """Return the numbers whose writes a server has seen."""
    begin = f"{PREFIX}:1:{key}:"
    return {int(name.removeprefix(begin)) for name in server.scan_iter(f"{begin}*", count=1000)}


def _names(one: EmbeddedServer, group: SentinelGroup) -> bool:
    """Say whether a Sentinel names the replica as the primary."""
    with connect(one) as client:
        address = client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", group.name)
    return int(address[1]) == group.replica.port


def _staleness(reads: list[tuple[float, int]], writes: list[Write]) -> float:
    """Return for how many seconds the oldest value read had been replaced when it was asked for."""
    longest = 0.0
    for began, number in reads:
        replaced = min((end for end, newer in writes if newer > number), default=began)
        longest = max(longest, began - replaced)
    return longest


def _longest_gap(since: float, writes: list[Write]) -> float:
    """Return the longest time between two acknowledgements that were not in vain."""
    ends = [end for end, _ in writes]
    return max(after - before for before, after in pairwise(ends) if after > since)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--failure", action="append", choices=FAILURES)
    for failure in parser.parse_args().failure or FAILURES:
        outcome = run(failure, {"START_AFTER": 0})
        away = ", ".join(f"{alias} {seconds:.1f} s" for alias, seconds in outcome.away.items())
        lost = ", ".join(f"{alias} {writes}" for alias, writes in outcome.lost.items())
        print(f"{failure:9} no write for: {away}; lost: {lost}; stale: {outcome.stale:.2f} s")


if __name__ == "__main__":
    main()
