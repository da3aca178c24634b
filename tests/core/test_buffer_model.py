"""The buffer against a list: whatever is called, jobs that went in came out or are here."""

from math import inf

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from redis_optimizer.core.buffer import JobBuffer

from .stores import Clock

Taken = list[tuple[str, int, int]]


class BufferMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.here: Taken = []
        self.since: dict[str, float] = {}
        self.gone: set[str] = set()
        self.out: Taken = []  # taken, and neither sent nor given back
        self.count = 0

    @initialize(
        size=st.integers(1, 5),
        max_bytes=st.sampled_from([1, 100, 10**6]),
        timeout=st.sampled_from([0.0, 1.0, 60.0]),
        delay=st.sampled_from([0.0, 2.0]),
        spread=st.floats(0, 1),
    )
    def make(self, size: int, max_bytes: int, timeout: float, delay: float, spread: float) -> None:
        self.buffer: JobBuffer[int] = JobBuffer(
            size=size,
            max_bytes=max_bytes,
            timeout=timeout,
            delay=delay,
            now=self.clock,
            spread=lambda: spread,
        )

    @rule(by=st.sampled_from([0.1, 1.0, 100.0]))
    def wait(self, by: float) -> None:
        self.clock.advance(by)

    @rule(size=st.sampled_from([0, 1, 60, 1000]))
    def add(self, size: int) -> None:
        self.count += 1
        job = (f"job {self.count}", self.count, size)
        self.buffer.add(job[0], job[1], size)
        self.here.append(job)
        self.since[job[0]] = self.clock()

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from([f"job {n}" for n in range(self.count + 1)]))
        expected = next((job for name, job, _ in self.here if name == id), None)
        assert self.buffer.remove(id) == expected
        self.here = [job for job in self.here if job[0] != id]

    @precondition(lambda self: not self.out)
    @rule()
    def take(self) -> None:
        self.out = self.buffer.batch()
        self.buffer.take(self.out)
        assert self.out == self.here[: len(self.out)], "not the oldest"
        assert bool(self.out) == bool(self.here)
        assert len(self.out) <= self.buffer.size
        assert len(self.out) == 1 or sum(s for *_, s in self.out) <= self.buffer.max_bytes
        self.here = self.here[len(self.out) :]

    @precondition(lambda self: self.out)
    @rule()
    def sent(self) -> None:
        self.buffer.sent()
        self.gone |= {id for id, *_ in self.out}
        self.out = []
        assert self.buffer.is_held == bool(self.buffer.delay)

    @precondition(lambda self: self.out)
    @rule(kept=st.integers(0, 5))
    def give_back(self, kept: int) -> None:
        """Some of it has left, one by one, and the rest cannot."""
        left = self.out[kept:]
        self.gone |= {id for id, *_ in self.out[:kept]}
        self.buffer.give_back(left)
        self.here = left + self.here
        self.since |= {id: self.clock() for id, *_ in left}
        self.out = []
        if self.here:
            assert self.buffer.due <= max(self.clock(), self.buffer._not_before)

    @rule()
    def expect(self) -> None:
        self.buffer.expect()
        if self.here:
            self.buffer.release()
            assert self.buffer.due <= self.clock()

    @rule()
    def leave(self) -> None:
        self.buffer.leave()
        if self.buffer.is_full:
            self.buffer.release()
            assert self.buffer.due <= self.clock()

    @rule()
    def hurry(self) -> None:
        self.buffer.hurry()
        assert not self.buffer.is_held
        assert not self.here or self.buffer.due <= self.clock()

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "buffer"):
            return
        assert list(self.buffer) == [id for id, *_ in self.here]
        assert len(self.buffer) == len(self.here)
        assert self.buffer.bytes == sum(size for *_, size in self.here)
        assert not self.gone & set(self.buffer)
        if not self.here:
            assert self.buffer.due == inf
        elif not self.buffer.is_held:
            assert self.buffer.due <= self.since[self.here[0][0]] + self.buffer.timeout


TestBuffer = BufferMachine.TestCase
