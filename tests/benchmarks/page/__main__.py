"""Compare a page with five cached reads: on django-redis, on TieredCache, and without any read.

    python -m tests.benchmarks.page [--quick] [--json]

Gunicorn serves each with one process of four threads; clients in other processes ask for it. The
three take turns, and the best round of each counts. The processor time of a request is the
steadier figure: of the rate, the clients take their share of the machine.
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.benchmark.server import CommandCounter
from tests.benchmarks.page.site import PARTS, TEXT
from tests.benchmarks.peers import report
from tests.benchmarks.peers.child import Child
from tests.benchmarks.peers.report import Claim, ratio
from tests.benchmarks.serving import serving
from tests.servers import wait_until

APPLICATION = "tests.benchmarks.page.site:make_application()"
CLIENT = "tests.benchmarks.page.client"
KINDS = {"plain": "django-redis", "tiered": "TieredCache", "none": "no reads"}
CLIENTS, CONNECTIONS = 2, 2  # processes, and connections of each
WARM = 100  # requests before anything counts
READY = 30.0  # seconds for the tier to have begun


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="little of each: to see that it works")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    before = report.machine()
    rounds, seconds = (1, 0.2) if given.quick else (7, 2.0)
    with contextlib.ExitStack() as stack:
        sites = {kind: stack.enter_context(serve(kind)) for kind in KINDS}
        for number in range(rounds):
            report.note(f"round {number + 1} of {rounds}")
            for site in sites.values():
                site.measure(seconds)
    rows = {kind: site.row for kind, site in sites.items()}
    result = {
        "machine": before,
        "rows": rows,
        "absent": {},
        "claims": [claim.as_dict() for claim in claims(rows)],
    }
    report.show("A page with 5 cached reads", result, as_json=given.json, sections=[table(rows)])


class Site:
    """One of the sites, and its clients."""

    def __init__(self, kind: str, process: int, client: redis.Redis, clients: list[Child]) -> None:
        self._kind, self._process, self._clients = kind, process, clients
        self._counter = CommandCounter(client)
        self.row: dict[str, Any] = {"title": KINDS[kind], "requests_per_s": 0.0}

    def warm_up(self) -> None:
        """Ask until every thread has connected, and a tier holds all; look at the page, too."""
        for number in range(WARM):
            length = self._clients[number % CLIENTS].ask("once")
        if length != len(PARTS) * len(TEXT):
            raise SystemExit(f"{self.row['title']}: a page of {length} bytes")
        if self._kind == "tiered":
            wait_until(self._is_free, READY)

    def _is_free(self) -> bool:
        self._counter.lap()
        for client in self._clients:
            client.ask("once")
        return not self._counter.lap()

    def measure(self, seconds: float) -> None:
        """Measure one round."""
        self._counter.lap()
        spent, began = processor_seconds(self._process), time.monotonic()
        for client in self._clients:
            client.tell("ask", seconds=seconds)
        requests = sum([client.hear() for client in self._clients])
        took = time.monotonic() - began
        cpu = (processor_seconds(self._process) - spent) / requests * 1000
        row = self.row
        row["requests_per_s"] = max(row["requests_per_s"], requests / took)
        row["cpu_ms"] = min(row.get("cpu_ms", cpu), cpu)
        row["commands_per_request"] = self._counter.lap().total() / requests


@contextlib.contextmanager
def serve(kind: str) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer())
        variables = {"PAGE_KIND": kind, "PAGE_URL": server.url}
        port, process = stack.enter_context(serving(APPLICATION, variables, workers=1))
        clients = [
            stack.enter_context(Child(sys.executable, CLIENT, str(port), str(CONNECTIONS)))
            for _ in range(CLIENTS)
        ]
        admin = stack.enter_context(redis.Redis.from_url(server.url))
        site = Site(kind, process, admin, clients)
        site.warm_up()
        yield site


def processor_seconds(process: int) -> float:
    """Return what gunicorn's workers have used of the processor."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ticks = 0
    for child in children:
        # After the name, which may hold blanks: utime and stime are the 14th and 15th field.
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def claims(rows: dict[str, Any]) -> list[Claim]:
    """Return what must hold."""

    def by(name: str, one: str, other: str) -> float | None:
        return ratio(rows[one][name], rows[other][name])

    rate, cpu = "requests_per_s", "cpu_ms"
    return [
        Claim("requests/s, by django-redis's", by(rate, "tiered", "plain"), 2.5, at_most=False),
        Claim("requests/s, by those of no reads", by(rate, "tiered", "none"), 0.85, at_most=False),
        Claim(
            "processor time of a request, django-redis's by TieredCache's",
            by(cpu, "plain", "tiered"),
            2.5,
            at_most=False,
        ),
        Claim(
            "processor time of a request, TieredCache's by that of no reads",
            by(cpu, "tiered", "none"),
            1.15,
        ),
    ]


def table(rows: dict[str, Any]) -> str:
    return report.table(
        "Gunicorn gthread, 1 process of 4 threads, 4 connections",
        ["", "requests/s", "CPU ms", "commands"],
        [
            [row["title"], row["requests_per_s"], row["cpu_ms"], row["commands_per_request"]]
            for row in rows.values()
        ],
    )


if __name__ == "__main__":
    main()
