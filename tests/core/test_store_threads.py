"""The store under threads, and across a fork."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from redis_optimizer.core import store as store_module
from redis_optimizer.core.store import LocalStore

from .loads import PATIENCE, until
from .stores import check_books, keep, read

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
ignore_fork_warning = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def store() -> LocalStore:
    store = LocalStore(max_entries=50)
    store.open()
    return store


@pytest.fixture
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_threads(*steps: Callable[[random.Random], None], times: int) -> None:
    """Run each step in a thread of its own, many times; raise what one of them raised."""
    errors: list[BaseException] = []

    def work(seed: int, step: Callable[[random.Random], None]) -> None:
        dice = random.Random(seed)
        try:
            for _ in range(times):
                step(dice)
        except BaseException as error:  # it is raised below
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(seed, step), daemon=True)
        for seed, step in enumerate(steps)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


@pytest.mark.usefixtures("_switch_often")
def test_readers_and_writers_do_not_disturb_each_other(store: LocalStore) -> None:
    under = store.under("1")

    def look(dice: random.Random) -> None:
        key = str(dice.randrange(200))
        assert read(store, key) in (None, key)
        entry = under.get(key)
        assert entry is None or entry.value == f"1{key}"

    def write(dice: random.Random) -> None:
        key = str(dice.randrange(200))
        keep(store, key, key)

    def disturb(dice: random.Random) -> None:
        store.drop([str(dice.randrange(200))])
        if dice.random() < 0.01:
            store.clear()
        store.count_valid()

    run_threads(look, look, look, write, write, disturb, times=2000)
    check_books(store)
    assert store._leases == {}


@needs_fork
@ignore_fork_warning
class TestFork:
    def in_child(self, work: Callable[[], None]) -> int:
        """Return the exit status of a child that does ``work``; one that hangs is killed."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(int(PATIENCE))
                work()
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    def test_a_child_does_not_hang_on_a_lock_that_a_thread_held(self, store: LocalStore) -> None:
        held, forked = threading.Event(), threading.Event()

        def hold() -> None:
            with store.lock:
                held.set()
                forked.wait(0.3)  # as long as the fork lasts: it waits for us

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(PATIENCE)

        def work() -> None:
            assert keep(store, "key")
            assert read(store, "key") == "value"

        try:
            assert self.in_child(work) == 0
        finally:
            forked.set()
            thread.join(PATIENCE)
        work()

    def test_a_child_never_gets_what_a_thread_had_half_done(self, store: LocalStore) -> None:
        end = threading.Event()

        def write() -> None:
            dice = random.Random(1)
            while not end.is_set():
                keep(store, str(dice.randrange(200)))
                store.drop([str(dice.randrange(200))])

        thread = threading.Thread(target=write)
        thread.start()
        try:
            until(lambda: store.evictions > 0)
            assert [self.in_child(lambda: check_books(store)) for _ in range(5)] == [0] * 5
        finally:
            end.set()
            thread.join(PATIENCE)

    def test_the_lock_is_free_on_both_sides_afterwards(self, store: LocalStore) -> None:
        def lock_from_a_thread() -> None:
            taken: list[bool] = []
            thread = threading.Thread(
                target=lambda: taken.append(store.lock.acquire(timeout=PATIENCE))
            )
            thread.start()
            thread.join()
            assert taken == [True]

        assert self.in_child(lock_from_a_thread) == 0
        lock_from_a_thread()

    def test_a_thread_that_holds_the_lock_may_fork(self, store: LocalStore) -> None:
        with store.lock:
            assert self.in_child(lambda: store.clear()) == 0
        store.clear()

    def test_two_threads_that_fork_at_once_take_turns(self, store: LocalStore) -> None:
        about_to = threading.Event()
        errors: list[BaseException] = []

        def fork() -> None:
            about_to.set()
            try:
                store_module._before_fork()
                store_module._after_fork_in_parent()
            except BaseException as error:  # it is shown below
                errors.append(error)

        store_module._before_fork()
        other = threading.Thread(target=fork, daemon=True)
        try:
            other.start()
            assert about_to.wait(PATIENCE)
            other.join(0.05)
            assert other.is_alive()
        finally:
            store_module._after_fork_in_parent()
        other.join(PATIENCE)
        assert not other.is_alive()
        assert errors == []
        assert store_module._held == []
