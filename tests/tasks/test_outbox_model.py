"""The outbox, whatever is called and whatever fails: each job is sent once, kept, or told of."""

from collections import Counter
from typing import Any

from celery import Celery
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from kombu.exceptions import OperationalError

from redis_optimizer.signals import jobs_lost
from redis_optimizer.tasks.kinds import DEDUP_HEADER, Kind, Terms
from redis_optimizer.tasks.message import Message
from redis_optimizer.tasks.outbox import Outbox

MAX_JOBS, MAX_BYTES = 30, 2_000
app = Celery("outbox", set_as_current=False)
kinds = st.sampled_from([Kind(app, task="a"), Kind(app, task="b"), Kind(app, task="b", priority=3)])


class Unattended(Outbox):
    """An outbox without its thread: what is due is sent when a test says so."""

    def _ensure_thread(self) -> bool:
        return False

    def send_due(self) -> None:
        for kind in self._shelf.due():
            if self._acquire(timeout=0):
                try:
                    self._send(kind)
                finally:
                    self._sender = 0
                    self._sending.release()


class OutboxMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.outbox = Unattended(self.dispatch, max_jobs=MAX_JOBS, max_bytes=MAX_BYTES)
        self.added: dict[str, int] = {}
        self.removed: set[str] = set()
        self.sent: Counter[str] = Counter()
        self.lost: set[str] = set()
        self.fails = ""
        self.count = 0
        jobs_lost.connect(self.note_lost)

    def teardown(self) -> None:
        self.fails = ""
        self.outbox._shelf._backoffs.clear()
        assert self.outbox.flush(force=True)
        jobs_lost.disconnect(self.note_lost)
        out = self.sent.keys() | self.removed | self.lost
        assert out == self.added.keys()
        assert set(self.sent.values()) <= {1}
        assert not len(self.outbox)
        assert not self.outbox._shelf.bytes
        assert not self.outbox._shelf.keys

    def note_lost(self, ids: list[str], **kwargs: Any) -> None:
        self.lost |= set(ids)

    def dispatch(self, kind: Kind, messages: list[Message]) -> None:
        if self.fails == "broker":
            raise OperationalError("refused")
        if self.fails == "exit":
            raise SystemExit
        if any("poison" in message.id for message in messages):
            raise ValueError("cannot be sent")
        self.sent.update(message.id for message in messages)

    @rule(
        kind=kinds,
        size=st.integers(1, 4),
        body=st.sampled_from(["", "x" * 50, "x" * 3_000]),
        name=st.sampled_from(["job", "job", "job", "poison"]),
        key=st.sampled_from(["", "k", "l"]),
        delay=st.sampled_from([0.0, 0.0, 1000.0]),
    )
    def add(self, kind: Kind, size: int, body: str, name: str, key: str, delay: float) -> None:
        self.count += 1
        id = f"{name} {self.count}"
        headers = {"id": id} | ({DEDUP_HEADER: key} if key else {})
        message = Message(id, kind.task, body, "", "", headers, {}, "", "", 0)
        held, used = len(self.outbox), self.outbox._shelf.bytes
        try:
            self.outbox.add(kind, Terms(size, 100, 3600, delay), message)
        except OperationalError:
            assert held == MAX_JOBS or used + len(body) > MAX_BYTES
            assert self.fails or len(body) > MAX_BYTES
        except SystemExit:
            assert self.fails == "exit"
        else:
            self.added[id] = len(body)

    @rule(kind=kinds, wait=st.booleans())
    def flush_full(self, kind: Kind, wait: bool) -> None:
        self._try(lambda: self.outbox.flush_full(kind, wait=wait))

    @rule(only=st.none() | st.lists(kinds, max_size=2), force=st.booleans(), wait=st.booleans())
    def flush(self, only: list[Kind] | None, force: bool, wait: bool) -> None:
        self._try(lambda: self.outbox.flush(only, force=force, wait=wait))

    @rule()
    def send_due(self) -> None:
        self._try(self.outbox.send_due)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.added:
            id = data.draw(st.sampled_from(list(self.added)))
            if self.outbox.remove(id):
                self.removed.add(id)

    @rule(fails=st.sampled_from(["", "", "broker", "exit"]))
    def let_fail(self, fails: str) -> None:
        self.fails = fails
        if not fails:  # the pause after a failure is over
            self.outbox._shelf._backoffs.clear()

    @invariant()
    def books_agree(self) -> None:
        out = self.sent.keys() | self.removed | self.lost
        here = self.added.keys() - out
        shelf = self.outbox._shelf
        assert shelf.jobs.keys() == here
        assert shelf.bytes == sum(self.added[id] for id in here) <= MAX_BYTES
        assert {id for buffer in shelf.buffers.values() for id in buffer} == here
        assert len(here) <= MAX_JOBS
        assert set(shelf.keys.values()) <= here
        assert sum(count for _, count in self.outbox.waiting()) == len(here)

    def _try(self, act: Any) -> None:
        try:
            act()
        except SystemExit:
            assert self.fails == "exit"


TestOutbox = OutboxMachine.TestCase
