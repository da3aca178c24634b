"""Drive HTTP traffic through a running site, and check what every process of it shows.

Everything goes over HTTP and is checked by content, so it measures any site that shows these
pages, whatever cache stands behind it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException

from example_project.dashboard.accounts import OPERATORS, PASSWORD

from .client import Client
from .visitor import Traffic, Visitor

Note = Callable[[str], None]

WRITERS = 4  # visitors who log in and change things
READERS = 2  # visitors who only read
DEADLINE = 15.0  # seconds within which every process must show a change
ROUNDS = 3  # changes that are followed through all processes, by each operator
NOTE_EVERY = 0.25  # seconds


def silent(text: str) -> None:
    """Note nothing."""


def arrive(port: int, processes: list[int], *, seed: int = 1) -> list[Visitor]:
    """Return visitors spread evenly over the processes, the operators among them logged in.

    Raises:
        OSError, HTTPException: the site does not answer.
    """

    def enter(number: int) -> Visitor:
        client = Client(port)
        client.connect_to(processes[number % len(processes)])
        visitor = Visitor(client, seed * 1000 + number)
        visitor.arrive()
        if number < WRITERS:
            visitor.log_in(OPERATORS[number], PASSWORD, number)
        return visitor

    with ThreadPoolExecutor(WRITERS + READERS) as pool:
        return list(pool.map(enter, range(WRITERS + READERS)))


def drive(
    visitors: list[Visitor], *, seconds: float, rate: float | None = None, note: Note = silent
) -> Traffic:
    """Let all visitors take turns for some seconds; return what they did since they arrived.

    Args:
        visitors: as `arrive` returns them; each gets a thread.
        seconds: how long new turns are begun.
        rate: turns a second of all together, so many whatever the site takes for them; None lets
            each visitor begin the next one when the last is done.
        note: called four times a second with how far it is.
    """
    started = time.monotonic()
    stopping = threading.Event()

    def moments(place: int) -> Iterator[float]:
        """Yield the seconds to wait before each turn of a visitor."""
        if rate is None:
            while time.monotonic() - started < seconds:
                yield 0.0
            return
        for turn in range(round(seconds * rate / len(visitors))):
            at = (turn + place / len(visitors)) * len(visitors) / rate
            yield max(started + at - time.monotonic(), 0.0)

    def stay(visitor: Visitor, place: int) -> None:
        for wait in moments(place):
            if stopping.wait(wait):
                return
            try:
                visitor.take_turn()
            except (OSError, HTTPException, KeyError) as error:
                visitor.traffic.failures.append(f"no answer: {error!r}")
                return

    threads = [
        threading.Thread(target=stay, args=(each, place), daemon=True)
        for place, each in enumerate(visitors)
    ]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            stopping.wait(NOTE_EVERY)
            count = sum(len(each.traffic.seconds) for each in visitors)
            note(f"{time.monotonic() - started:.0f} of {seconds:.0f} s, {count:,} requests")
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    total = Traffic()
    for visitor in visitors:
        total.add(visitor.traffic)
    return total


@dataclass(slots=True)
class Spread:
    """How changes reached the other processes.

    Args:
        changes: number of changes that were followed.
        missed: those that some process did not show within 15 seconds.
        slowest: seconds until the last process showed a change, at most.
        faults: what was wrong with the visitors' own requests meanwhile.
    """

    changes: int = 0
    missed: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)


def follow(visitors: list[Visitor], processes: list[int], *, note: Note = silent) -> Spread:
    """Make changes, and ask every process of the site until each of them shows them.

    Raises:
        OSError, HTTPException: the site does not answer.
    """
    spread = Spread()
    for visitor in visitors:
        if not visitor.operator:
            continue
        visitor.traffic = Traffic()
        watchers = [visitor.open_another(process) for process in processes]
        for change in (visitor.change_state, visitor.change_settings) * ROUNDS:
            for watcher in watchers:  # every process now holds what is about to be replaced
                visitor.is_up_to_date(watcher)
            change()
            spread.changes += 1
            started = time.monotonic()
            for watcher in watchers:
                while not (shown := visitor.is_up_to_date(watcher)):
                    if time.monotonic() - started > DEADLINE:
                        break
                spread.missed += not shown
            spread.slowest = max(spread.slowest, time.monotonic() - started)
            note(f"{spread.changes} changes")
        for watcher in watchers:
            watcher.close()
        spread.faults += visitor.traffic.failures + visitor.traffic.stale
    return spread
