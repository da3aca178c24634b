"""S3-FIFO: which key goes, and that it finds what the reference implementation finds."""

from __future__ import annotations

import gzip
import os
import random
from collections import Counter
from itertools import accumulate
from math import inf
from pathlib import Path
from typing import Any

import pytest

from redis_optimizer.core.s3fifo import HOTTEST, MAX_SCAN, S3Fifo
from redis_optimizer.core.store import Entry, LocalStore
from tests.missing import go_without

FOLDER_VARIABLE = "REDIS_OPTIMIZER_TRACES"
FOLDER = os.environ.get(FOLDER_VARIABLE, "")
EXPECTED = {"scarab", "web07"}
FOUND = {path.name.removesuffix(".txt.gz") for path in Path(FOLDER or os.devnull).glob("*.txt.gz")}


def zipf(seed: int, *, keys: int, requests: int, skew: float) -> list[str]:
    weights = list(accumulate(1 / rank**skew for rank in range(1, keys + 1)))
    drawn = random.Random(seed).choices(range(keys), cum_weights=weights, k=requests)
    return [str(key) for key in drawn]


def hits_here(trace: list[str], size: int) -> int:
    store = LocalStore(size, 2**60)
    store.open()
    for key in trace:
        if store.find(key) is None:
            store.fill(key, store.lease(key), key, None, 1, inf)
    assert len(store) == size
    return store.hits


def hits_there(trace: list[str], size: int) -> int:
    try:
        import libcachesim  # type: ignore[import-untyped]  # it ships no types
    except ImportError:
        go_without("libcachesim, the reference, is not installed")
    cache, request = libcachesim.S3FIFO(size), libcachesim.Request()
    request.obj_size = 1
    hits = 0
    for key in trace:
        request.obj_id = int(key)
        hits += cache.get(request)
    return hits


def assert_same_ratio(trace: list[str], share: float) -> None:
    size = int(len(set(trace)) * share)
    here, there = hits_here(trace, size), hits_there(trace, size)
    points = 100 * abs(here - there) / len(trace)
    assert points <= 0.1, f"{here} hits here, {there} there: {points:.3f} points apart"
    assert here > 0


@pytest.mark.parametrize("share", [0.01, 0.1])
@pytest.mark.parametrize("skew", [0.7, 1.0])
def test_the_hit_ratio_of_a_zipf_trace_is_that_of_the_reference(skew: float, share: float) -> None:
    assert_same_ratio(zipf(7, keys=10_000, requests=60_000, skew=skew), share)


@pytest.mark.parametrize("share", [0.01, 0.1])
@pytest.mark.parametrize("name", sorted(EXPECTED | FOUND))
def test_the_hit_ratio_of_a_real_trace_is_that_of_the_reference(name: str, share: float) -> None:
    if not FOLDER:
        go_without(f"{FOLDER_VARIABLE} names no folder with traces")
    with gzip.open(Path(FOLDER, f"{name}.txt.gz"), "rt") as lines:
        assert_same_ratio([line.strip() for line in lines], share)


class Shelf:
    """The queues and a mapping, without a store around them."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.queues = S3Fifo(capacity)
        self.entries: dict[str, Entry] = CountingDict()
        self.evicted: list[str] = []

    def put(self, key: str, *, expires_at: float = inf, epoch: int = 0) -> None:
        returning = self.queues.recall(key)
        self.entries[key] = Entry(key, None, 1, expires_at, epoch)
        while len(self.entries) > self.capacity:
            victim = self.queues.evict(self.entries, 0.0, 0)
            if victim is not None:
                del self.entries[victim]
                self.evicted.append(victim)
        self.queues.add(key, returning=returning)

    def heat(self, key: str, hot: int) -> None:
        self.entries[key].hot = hot

    def remove(self, key: str) -> None:
        del self.entries[key]
        self.queues.vacate(key)


class CountingDict(dict[str, Entry]):
    looked_up: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.looked_up = Counter()

    def get(self, key: str, default: Any = None) -> Any:
        self.looked_up[key] += 1
        return super().get(key, default)


@pytest.fixture
def shelf() -> Shelf:
    """Return a full shelf: "0" is in the small queue, "1" to "9" in main."""
    shelf = Shelf(10)
    for n in range(10):
        shelf.put(str(n))
    return shelf


def test_nothing_goes_while_there_is_room(shelf: Shelf) -> None:
    assert shelf.evicted == []
    assert list(shelf.entries) == [str(n) for n in range(10)]


def test_a_newcomer_nobody_reads_goes_first(shelf: Shelf) -> None:
    for n in range(10):
        shelf.put(f"new{n}")
    assert shelf.evicted == ["0", *(f"new{n}" for n in range(9))]


def test_a_newcomer_read_twice_stays(shelf: Shelf) -> None:
    shelf.heat("0", 2)
    shelf.put("new")
    assert shelf.evicted == ["1"]
    assert "0" in shelf.entries
    assert shelf.entries["0"].hot == 0  # it starts anew in main


def test_a_newcomer_read_once_goes(shelf: Shelf) -> None:
    shelf.heat("0", 1)
    shelf.put("new")
    assert shelf.evicted == ["0"]


def test_an_entry_in_main_stays_as_often_as_it_was_read(shelf: Shelf) -> None:
    shelf.heat("0", 2)
    shelf.heat("1", 2)
    shelf.put("new")
    assert shelf.evicted == ["2"]
    assert shelf.entries["1"].hot == 1


def test_a_key_that_comes_back_soon_goes_to_main(shelf: Shelf) -> None:
    shelf.put("new")
    assert shelf.queues.remembers("0")
    shelf.put("0")
    assert not shelf.queues.remembers("0")
    for n in range(20):
        shelf.put(f"newer{n}")
    assert "0" in shelf.entries


def test_the_ghost_forgets(shelf: Shelf) -> None:
    for n in range(30):
        shelf.put(f"new{n}")
    assert not shelf.queues.remembers("0")
    assert sum(shelf.queues.remembers(f"new{n}") for n in range(30)) == 9


def test_what_main_lets_go_is_not_remembered(shelf: Shelf) -> None:
    shelf.heat("0", 2)
    shelf.put("new")
    assert not shelf.queues.remembers("1")


@pytest.mark.parametrize("dead", [{"expires_at": -1.0}, {"expires_at": 0.0}, {"epoch": 1}])
def test_what_is_dead_goes_however_hot_and_is_not_remembered(dead: dict[str, float]) -> None:
    shelf = Shelf(10)
    shelf.put("dead", **dead)  # type: ignore[arg-type]
    for n in range(9):
        shelf.put(str(n))
    shelf.heat("dead", HOTTEST)
    shelf.put("new")
    assert shelf.evicted == ["dead"]
    assert not shelf.queues.remembers("dead")


def test_a_removed_key_takes_its_old_place_when_read_again(shelf: Shelf) -> None:
    shelf.remove("5")
    shelf.put("5")
    for n in range(20):
        shelf.put(f"new{n}")
    assert "5" in shelf.entries  # main still holds it


def test_a_vacant_place_is_passed_over(shelf: Shelf) -> None:
    shelf.put("gone")
    shelf.remove("gone")
    shelf.put("new")
    assert shelf.evicted == ["0"]
    shelf.put("newer")
    assert shelf.evicted == ["0", "new"]


def test_a_place_of_an_entry_that_is_gone_is_passed_over(shelf: Shelf) -> None:
    del shelf.entries["0"]  # as when what removes it is interrupted
    for n in range(20):
        shelf.put(f"new{n}")
    assert len(shelf.evicted) == 19
    assert "0" not in shelf.evicted


def test_vacant_places_are_taken_out_when_they_are_many() -> None:
    shelf = Shelf(1000)
    for n in range(500):
        shelf.put(str(n))
    for n in range(400):
        shelf.remove(str(n))
        shelf.queues.compact(len(shelf.entries))
    queues = shelf.queues
    assert len(queues._vacant) <= len(shelf.entries) + 64
    assert len(queues._small) + len(queues._main) == len(shelf.entries) + len(queues._vacant)
    for n in range(1000):
        shelf.put(f"new{n}")
    assert len(shelf.entries) == 1000


@pytest.mark.parametrize("share_of_small", [0.05, 1.0])
def test_an_eviction_looks_at_a_bounded_number_of_entries(share_of_small: float) -> None:
    shelf = Shelf(3000)
    if share_of_small == 1.0:
        shelf.queues._has_evicted = True  # the small queue takes all
    for n in range(3000):
        shelf.put(str(n))
        shelf.heat(str(n), HOTTEST)
    entries = shelf.entries
    assert isinstance(entries, CountingDict)
    entries.looked_up.clear()
    shelf.put("new")
    assert len(shelf.evicted) == 1
    assert MAX_SCAN <= entries.looked_up.total() <= 2 * MAX_SCAN
