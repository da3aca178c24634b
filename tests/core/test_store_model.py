"""The store against a model that keeps everything: any calls, in any order, at any time."""

from dataclasses import dataclass, field
from math import inf

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from redis_optimizer.core.store import MISSING, OVERHEAD, Lease, LocalStore

from .stores import Clock, check_books

KEYS = ["", "a", "b", "é\ud800", "k" * 300, "\0"]
SIZES = [0, 1, 100, 5_000, 10**9]
keys = st.sampled_from(KEYS)
seconds = st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0, 400.0])


@dataclass
class Era:
    """A time of trust: until when, and whether it may be told of afterwards."""

    until: float
    ended: float = inf
    is_forgotten: bool = False


@dataclass
class Value:
    number: int
    expires_at: float
    era: Era
    is_miss: bool


@dataclass
class Model:
    """What a store with endless room would hold."""

    era: Era = field(default_factory=lambda: Era(-inf))
    is_open: bool = False
    values: dict[str, Value] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    is_exact: bool = True  # nothing had to give way so far


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.model = Model()
        self.taken: list[tuple[str, Lease]] = []
        self.count = 0

    @initialize(
        entries=st.sampled_from([1, 2, 100]),
        max_bytes=st.sampled_from([4_000, 10**7]),
        stale_for=st.sampled_from([0.0, 5.0]),
    )
    def make(self, entries: int, max_bytes: int, stale_for: float) -> None:
        self.store = LocalStore(entries, max_bytes, self.clock, stale_for)

    @rule(prefix=st.sampled_from(["", "a", "k", "kk"]))
    def look_under(self, prefix: str) -> None:
        self.store.under(prefix)

    @rule(by=seconds)
    def wait(self, by: float) -> None:
        self.clock.advance(by)

    @rule(span=seconds)
    def open(self, span: float) -> None:
        self._end_era()
        self.model.is_open = True
        self.model.era = Era(self.clock() + span)
        self.store.open(self.clock() + span)

    @rule(span=seconds)
    def extend(self, span: float) -> None:
        if self.model.is_open:
            self.model.era.until = self.clock() + span
        self.store.extend(self.clock() + span)

    @rule()
    def close(self) -> None:
        self._end_era()
        self.model.is_open = False
        self.model.era = Era(-inf)
        self.store.close()

    @rule()
    def clear(self) -> None:
        self.model.values.clear()
        self.model.leases.clear()
        self.model.era = Era(self.model.era.until)
        self.store.clear()

    @rule(dropped=st.lists(keys, max_size=3))
    def drop(self, dropped: list[str]) -> None:
        self.store.drop(dropped)
        for key in dropped:
            self.model.values.pop(key, None)
            self.model.leases.pop(key, None)

    @rule(key=keys)
    def lease(self, key: str) -> None:
        lease = self.store.lease(key)
        assert (lease is not None) == self.model.is_open
        if lease is not None:
            assert self.model.leases.setdefault(key, lease) is lease
            self.taken.append((key, lease))

    @rule(data=st.data(), age=seconds, size=st.sampled_from(SIZES), is_miss=st.booleans())
    def fill(self, data: st.DataObject, age: float, size: int, is_miss: bool) -> None:
        if not self.taken:
            return
        key, lease = data.draw(st.sampled_from(self.taken))
        holds = self.model.leases.get(key) is lease
        self.model.leases.pop(key, None) if holds else None
        load = MISSING if is_miss else None
        self.count += 1
        kept = self.store.fill(key, lease, self.count, load, size, self.clock() + age)
        fits = size + len(key) + OVERHEAD <= self.store.max_bytes // 8
        assert kept == (holds and fits)
        if holds:
            self._note(key, age, is_miss, fits)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.taken:
            key, lease = data.draw(st.sampled_from(self.taken))
            self.store.release(key, lease)
            if self.model.leases.get(key) is lease:
                del self.model.leases[key]

    @rule(key=keys, age=seconds, size=st.sampled_from(SIZES))
    def put(self, key: str, age: float, size: int) -> None:
        self.count += 1
        self.model.leases.pop(key, None)
        fits = size + len(key) + OVERHEAD <= self.store.max_bytes // 8
        assert self.store.put(key, self.count, None, size, self.clock() + age) == fits
        self._note(key, age, False, fits)

    @rule(key=keys)
    def settle(self, key: str) -> None:
        self.store.settle({key: self.store.entries.get(key)})
        value = self.model.values.get(key)
        if value and (
            self.clock() >= min(value.expires_at, value.era.until)
            or value.era is not self.model.era
        ):
            del self.model.values[key]

    @invariant()
    def serves_what_the_model_does(self) -> None:
        if not hasattr(self, "store"):
            return
        check_books(self.store)
        for key in KEYS:
            self._check_served(key)
            self._check_stale(key)

    def _check_served(self, key: str) -> None:
        value, entry = self.model.values.get(key), self.store.find(key)
        is_fresh = (
            value is not None
            and value.era is self.model.era
            and self.clock() < min(value.expires_at, value.era.until)
        )
        if entry is not None:
            assert is_fresh
            assert value is not None
            assert entry.value == value.number
            assert (entry.load is MISSING) == value.is_miss
        elif is_fresh:
            assert self.store.evictions, "it is gone, though nothing had to give way"

    def _check_stale(self, key: str) -> None:
        value, entry = self.model.values.get(key), self.store.find_stale(key)
        if entry is not None:
            assert value is not None
            assert entry.value == value.number
            assert not value.is_miss
            is_current = value.era is self.model.era
            ended = value.era.until if is_current else value.era.ended
            assert self.clock() < min(value.expires_at, ended) + self.store.stale_for

    def _note(self, key: str, age: float, is_miss: bool, fits: bool) -> None:
        if fits:
            value = Value(self.count, self.clock() + age, self.model.era, is_miss)
            self.model.values[key] = value
        else:  # what was there is older than what was just refused
            self.model.values.pop(key, None)

    def _end_era(self) -> None:
        self.model.leases.clear()
        if self.model.is_open:
            self.model.era.ended = min(self.clock(), self.model.era.until)


TestStore = StoreMachine.TestCase
