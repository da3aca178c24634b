"""Let one fault happen while users do what they do, and measure what they see."""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import redis

from redis_optimizer.embedded import HOST
from tests.servers import connect, sentinel, wait_until
from tests.soak import faults as soaked
from tests.soak.ground import Place

from .site import GOOD, TITLES, Site, Where, configure

LASTS = 10.0  # seconds of a fault that has no length of its own
BEFORE = 2.0  # seconds in which everything must be good before
AFTER = 2.0  # seconds
PAUSE = 0.1  # seconds between two calls
PATIENCE = 90.0  # seconds in which everything must be good again


def read_only(place: Place, hold: float) -> None:
    """Make the server a replica, of a primary that is not there."""
    with place.admin() as admin:
        admin.execute_command("REPLICAOF", HOST, 1)
        time.sleep(hold)
        admin.execute_command("REPLICAOF", "NO", "ONE")


FAULTS: dict[str, Callable[[Place, float], None]] = {
    "killed": soaked.kill,
    "restarted": soaked.restart,
    "frozen": soaked.freeze,
    "unreachable": soaked.unreachable,
    "connections refused": soaked.cut,
    "connections closed": soaked.kill_clients,
    "no memory": soaked.full,
    "disk full": soaked.disk_full,
    "read-only replica": read_only,
    "busy script": soaked.busy,
}
"""Faults of one server, by the titles of the rows."""

FAILOVER = "failover"
ROWS = (*FAULTS, FAILOVER)


class Call(NamedTuple):
    """One call: when it was made, and what was seen."""

    began: float
    ended: float
    seen: str


class User(threading.Thread):
    """One who does the same again and again."""

    def __init__(self, act: Callable[[], str], good: str, done: threading.Event) -> None:
        super().__init__(daemon=True)
        self.act, self.good, self.done = act, good, done
        self.calls: list[Call] = []

    def run(self) -> None:
        while not self.done.wait(PAUSE):
            began = time.monotonic()
            try:
                seen = self.act()
            except Exception as error:
                seen = type(error).__name__
            self.calls.append(Call(began, time.monotonic(), seen))

    def is_good(self, since: float) -> bool:
        """Tell whether a call that was made since then was good, and the last one is."""
        good = [call.seen == self.good for call in list(self.calls) if call.began >= since]
        return bool(good) and good[-1]

    def summary(self, began: float, ended: float) -> dict[str, Any]:
        """Say what was seen, the longest call, and how long it was bad after the fault."""
        # Of a fault that is over at once, what is seen in the two seconds after it.
        until = max(ended, began + AFTER)
        during = [
            call
            for call in self.calls
            if call.ended >= began and (call.began <= until or call.seen != self.good)
        ]
        bad = [call.ended for call in self.calls if call.ended > began and call.seen != self.good]
        good_again = 0.0
        if bad:
            later = (call.ended for call in self.calls if call.began >= max(bad))
            good_again = max(0.0, next(later) - ended)
        return {
            "seen": Counter(call.seen for call in during),
            "longest_s": max((call.ended - call.began for call in during), default=0.0),
            "good_again_s": good_again,
        }


def wait_good(users: Mapping[str, User], since: float) -> None:
    """Wait until everybody sees what is good.

    Raises:
        AssertionError: somebody did not; names what was seen last.
    """
    try:
        wait_until(lambda: all(user.is_good(since) for user in users.values()), PATIENCE)
    except AssertionError:
        last = {title: user.calls[-1:] for title, user in users.items()}
        raise AssertionError(f"Not good within {PATIENCE} s: {last}") from None


def measure(fault: str) -> dict[str, Any]:
    """Return what each user saw of a fault, and what became of the jobs; once in a process.

    Args:
        fault: One of ROWS.
    """
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        with (
            _failing_over() if fault == FAILOVER else _failing(fault, folder) as (
                where,
                act,
                broker,
            )
        ):
            configure(where, folder)
            site = Site()
            site.begin()
            done = threading.Event()
            users = {
                title: User(site.acts[title], good, done)
                for title, good in zip(TITLES, GOOD, strict=True)
            }
            for user in users.values():
                user.start()
            since = time.monotonic()
            wait_good(users, since)
            time.sleep(BEFORE)
            began = time.monotonic()
            act()
            ended = time.monotonic()
            wait_good(users, ended)
            time.sleep(max(BEFORE, AFTER))
            done.set()
            for user in users.values():
                user.join()
            row = {title: user.summary(began, ended) for title, user in users.items()}
            return {"lasted_s": ended - began, "columns": row, "jobs": _count(site, broker())}


def _count(site: Site, broker: redis.Redis) -> dict[str, int]:
    """Compare the jobs that were taken with those that the broker holds: no worker runs."""
    taken = set(site.taken)

    def held() -> set[str]:
        return {json.loads(each)["headers"]["id"] for each in broker.lrange("celery", 0, -1)}

    with contextlib.suppress(AssertionError):
        wait_until(lambda: taken <= held(), 20, 0.2)
    return {"taken": len(taken), "lost": len(taken - held())}


Ground = tuple[Where, Callable[[], None], Callable[[], redis.Redis]]


@contextlib.contextmanager
def _failing(fault: str, folder: Path) -> Iterator[Ground]:
    place = Place("redis", folder)
    try:
        place.start()
        where = Where(place.url, {}, place.url, {})
        yield where, lambda: FAULTS[fault](place, LASTS), place.admin
    finally:
        place.stop()


@contextlib.contextmanager
def _failing_over() -> Iterator[Ground]:
    """Kill a primary; the fault is over when its replica has taken its place."""
    with sentinel() as group:
        options = {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "SENTINELS": group.addresses,
            "SENTINEL_KWARGS": {"socket_timeout": 1, "socket_connect_timeout": 1},
        }
        broker = ";".join(f"sentinel://{host}:{port}" for host, port in group.addresses)
        where = Where(f"redis://{group.name}/0", options, broker, {"master_name": group.name})

        def act() -> None:
            group.primary.kill()
            replica = connect(group.replica)
            wait_until(lambda: replica.info("replication")["role"] == "master")

        yield where, act, lambda: connect(group.replica)
