"""Messages that come in a burst are read together, others at once; by a clock of the test's own."""

import threading
from typing import Any

import pytest
import redis

from redis_optimizer.channel import Channel
from redis_optimizer.core.bursts import MOST, PAUSE
from redis_optimizer.link import Link

from .listeners import Listener

GAP = 0.0001  # seconds between two messages of a burst


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Wire:
    """A connection on which messages arrive at given times, and when nothing more is to come."""

    def __init__(self, clock: Clock, arrivals: list[tuple[float, Any]], at_end: Any) -> None:
        self.clock, self.arrivals, self.at_end = clock, arrivals, at_end
        self.looks = 0
        self.waits = 0
        """How often somebody waited for a message."""

    def pack_command(self, *args: str) -> list[bytes]:
        return [arg.encode() for arg in args]

    def can_read(self, timeout: float) -> bool:
        if not self.arrivals:
            self.looks += 1
            if timeout or self.looks > 10:  # in vain
                self.at_end()
            return False
        began = self.clock.now
        self.clock.now = max(began, min(self.arrivals[0][0], began + timeout))
        self.waits += self.clock.now > began
        return self.clock.now >= self.arrivals[0][0]

    def read_response(self, **kwargs: Any) -> Any:
        return self.arrivals.pop(0)[1]


class Stopping(threading.Event):
    """What the channel's thread waits on in a pause."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout or 0)
        self.clock.now += timeout or 0
        return self.is_set()


class Told(Listener):
    """Notes as well when it was told of a key."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(redis.Redis())
        self.clock = clock
        self.at: dict[str, float] = {}

    def on_invalidated(self, keys: Any) -> None:
        super().on_invalidated(keys)
        for key in keys or ():
            self.at.setdefault(key, self.clock.now)


def written(*keys: str) -> list[Any]:
    return [b"message", b"__redis__:invalidate", [key.encode() for key in keys] or None]


def listen(
    arrivals: list[tuple[float, Any]], *, has_pinged: bool = False
) -> tuple[Told, Wire, list[float]]:
    """Let a channel listen to messages, by seconds after its begin, until the last has come."""
    clock = Clock()
    channel = Channel(redis.ConnectionPool(), "tests", now=clock)
    channel._stopping = stopping = Stopping(clock)
    told = Told(clock)
    channel._served = [told]
    channel._ping_sent = clock.now if has_pinged else None
    wire = Wire(clock, [(clock.now + after, reply) for after, reply in arrivals], stopping.set)
    channel._listen(Link(wire, channel._pool, 2), 10)  # type: ignore[arg-type]  # as far as it goes
    assert not wire.arrivals
    return told, wire, stopping.pauses


def test_a_burst_takes_few_wake_ups() -> None:
    arrivals = {f"t:{number}": number * GAP for number in range(1000)}
    told, wire, pauses = listen([(at, written(key)) for key, at in arrivals.items()])
    assert told.heard() == list(arrivals)
    assert wire.waits + len(pauses) < 1000 * GAP / PAUSE + 10
    assert len(told.events) < 1000 * GAP / PAUSE + 10


def test_in_a_burst_a_message_waits_for_one_pause_at_most() -> None:
    arrivals = {f"t:{number}": number * GAP for number in range(1000)}
    told, _, pauses = listen([(at, written(key)) for key, at in arrivals.items()])
    late = [told.at[key] - Clock.now - at for key, at in arrivals.items()]
    assert 0 < max(late) <= PAUSE + 1e-9
    assert max(pauses) == PAUSE


@pytest.mark.parametrize("gap", [0.001, 0.1, 3.0])
def test_messages_that_come_now_and_then_are_told_at_once(gap: float) -> None:
    arrivals = {f"t:{number}": number * gap for number in range(50)}
    told, _, pauses = listen([(at, written(key)) for key, at in arrivals.items()])
    assert {key: at - Clock.now for key, at in told.at.items()} == pytest.approx(arrivals)
    assert pauses == []


def test_the_first_after_a_burst_is_told_at_once() -> None:
    burst = [(number * GAP, written(f"t:{number}")) for number in range(100)]
    told, _, pauses = listen([*burst, (5.0, written("t:late"))])
    assert pauses
    assert told.at["t:late"] - Clock.now == pytest.approx(5.0)


def test_a_key_that_is_written_again_and_again_is_told_of_once_in_each_pause() -> None:
    told, _, pauses = listen([(number * GAP, written("t:1")) for number in range(1000)])
    assert len(told.heard()) == len(told.events) < len(pauses) + 10


def test_in_a_burst_all_keeps_its_order() -> None:
    middle = [written("t:a"), [b"pong", b""], written("t:b"), written(), written("t:c")]
    burst = [written(f"t:{number}") for number in range(20)]
    told, _, pauses = listen([(0.0, reply) for reply in [*burst, *middle, *burst]], has_pinged=True)
    assert len(pauses) <= 2
    names = [(name, keys if name == "invalidated" else None) for name, keys in told.events]
    pong = names.index(("alive", None))
    assert names[pong - 1][1][-1] == "t:a"  # type: ignore[index]
    assert names[pong + 1 : pong + 3] == [("invalidated", ["t:b"]), ("invalidated", None)]
    assert names[pong + 3][1][0] == "t:c"  # type: ignore[index]


def test_what_is_more_than_is_taken_at_once_is_taken_without_a_pause() -> None:
    told, _, pauses = listen([(0.0, written(f"t:{number}")) for number in range(3 * MOST)])
    assert len(told.heard()) == 3 * MOST
    assert pauses[:3] == [PAUSE, 0, 0]


def test_a_channel_that_is_stopped_in_a_pause_reads_no_more() -> None:
    clock = Clock()
    channel = Channel(redis.ConnectionPool(), "tests", now=clock)

    class Stopped(Stopping):
        def wait(self, timeout: float | None = None) -> bool:
            self.set()
            return super().wait(timeout)

    channel._stopping = Stopped(clock)
    told = Told(clock)
    channel._served = [told]
    wire = Wire(clock, [(clock.now, written(f"t:{number}")) for number in range(100)], None)
    channel._listen(Link(wire, channel._pool, 2), 10)  # type: ignore[arg-type]  # as far as it goes
    assert 0 < len(told.heard()) < 10
