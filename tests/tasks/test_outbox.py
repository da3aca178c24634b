"""The outbox sends every job, or says that it did not."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import OperationalError

from redis_optimizer.core import buffer
from redis_optimizer.signals import jobs_lost
from redis_optimizer.tasks import batching, shelf
from redis_optimizer.tasks import outbox as outbox_module
from redis_optimizer.tasks.kinds import DEDUP_HEADER, Kind, Terms
from redis_optimizer.tasks.kombu.sending import PartlySent
from redis_optimizer.tasks.message import Message
from redis_optimizer.tasks.outbox import CROWD, Outbox
from tests.interrupts import interruptions
from tests.servers import wait_until

LONG = 3600.0
app = Celery("outbox", set_as_current=False)
A, B = Kind(app, task="a"), Kind(app, task="b")


class Broker:
    """What an outbox sends to: it can refuse, and it can hang."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.threads: list[threading.Thread] = []
        self.refuses = False
        self.answers = threading.Event()
        self.answers.set()
        self.asked = threading.Event()

    def __call__(self, kind: Kind, messages: list[Message]) -> None:
        self.asked.set()
        self.threads.append(threading.current_thread())
        assert self.answers.wait(60)
        if self.refuses:
            raise OperationalError("refused")
        self.sent.append([message.id for message in messages])


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.refuses = False
    broker.answers.set()


@pytest.fixture
def outbox(broker: Broker) -> Outbox:
    return Outbox(broker, max_jobs=100, max_bytes=10**6)


def message(id: str, key: str = "") -> Message:
    headers = {DEDUP_HEADER: key} if key else {}
    return Message(id, "a", "[]", "application/json", "utf-8", headers, {}, "", "celery", 0)


def terms(size: int = 3, timeout: float = LONG, delay: float = 0.0) -> Terms:
    return Terms(size, 10**6, timeout, delay)


def fill(outbox: Outbox, ids: str, kind: Kind = A, **options: Any) -> None:
    for id in ids:
        outbox.add(kind, terms(**options), message(id))
        outbox.flush_full(kind)


def wait_idle(outbox: Outbox) -> None:
    """Wait until the thread does."""
    wait_until(lambda: outbox._wake._waiters)  # type: ignore[attr-defined]


def test_a_full_batch_is_sent_by_who_fills_it(outbox: Outbox, broker: Broker) -> None:
    fill(outbox, "a")
    fill(outbox, "bcd")
    assert broker.sent == [["a", "b", "c"]]
    assert broker.threads == [threading.current_thread()]
    assert len(outbox) == 1
    assert "d" in outbox


def test_jobs_that_have_waited_are_sent_by_the_thread(outbox: Outbox, broker: Broker) -> None:
    fill(outbox, "ab", timeout=0.05)
    wait_until(lambda: broker.sent == [["a", "b"]])
    assert broker.threads != [threading.current_thread()]
    wait_until(lambda: len(outbox) == 0)


def test_a_job_that_is_due_earlier_than_others_is_sent_earlier(
    outbox: Outbox, broker: Broker
) -> None:
    fill(outbox, "a", A)
    fill(outbox, "b", B, timeout=0.05)
    wait_until(lambda: broker.sent == [["b"]])
    assert "a" in outbox


def test_who_must_not_block_leaves_it_to_the_thread(outbox: Outbox, broker: Broker) -> None:
    for id in "abc":
        outbox.add(A, terms(), message(id))
        outbox.flush_full(A, wait=False)
    wait_until(lambda: broker.sent == [["a", "b", "c"]])
    assert threading.current_thread() not in broker.threads


def test_kinds_are_sent_apart(outbox: Outbox, broker: Broker) -> None:
    fill(outbox, "ab", A)
    fill(outbox, "c", B)
    assert outbox.flush()
    assert broker.sent == [["a", "b"], ["c"]]


def test_flushing_one_kind_leaves_the_others(outbox: Outbox, broker: Broker) -> None:
    fill(outbox, "ab", A)
    fill(outbox, "c", B)
    assert outbox.flush([B])
    assert broker.sent == [["c"]]
    assert "a" in outbox


def test_one_sending_at_a_time_and_nobody_waits_for_it(outbox: Outbox, broker: Broker) -> None:
    broker.answers.clear()
    thread = threading.Thread(target=fill, args=(outbox, "abc"))
    thread.start()
    assert broker.asked.wait(60)
    fill(outbox, "def")  # returns, though the broker hangs
    assert len(broker.threads) == 1
    broker.answers.set()
    thread.join(60)
    wait_until(lambda: len(outbox) == 0)
    assert broker.sent == [["a", "b", "c"], ["d", "e", "f"]]


def test_a_crowd_behind_a_sending_waits_for_it(outbox: Outbox, broker: Broker) -> None:
    broker.answers.clear()
    first = threading.Thread(target=fill, args=(outbox, "abc"))
    first.start()
    assert broker.asked.wait(60)
    crowd = "".join(chr(ord("d") + number) for number in range(3 * CROWD))
    second = threading.Thread(target=fill, args=(outbox, crowd))
    second.start()
    wait_until(lambda: len(outbox) == 3 + len(crowd))
    second.join(0.1)
    assert second.is_alive()
    broker.answers.set()
    second.join(60)
    assert not second.is_alive()
    first.join(60)


def test_what_cannot_be_sent_is_kept_and_sent_later(outbox: Outbox, broker: Broker) -> None:
    broker.refuses = True
    fill(outbox, "abc")
    assert len(outbox) == 3
    broker.refuses = False
    wait_until(lambda: broker.sent == [["a", "b", "c"]])


def test_a_failure_is_logged_once(
    outbox: Outbox, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.refuses = True
    with caplog.at_level(logging.INFO, "redis_optimizer"):
        fill(outbox, "abc")
        wait_until(lambda: len(broker.threads) > 1)
    assert [record.getMessage() for record in caplog.records] == [
        "3 jobs could not be sent and are kept: refused"
    ]


def test_too_many_jobs_are_refused_and_not_taken(broker: Broker) -> None:
    outbox = Outbox(broker, max_jobs=3, max_bytes=10**6)
    broker.refuses = True
    fill(outbox, "abc")
    with pytest.raises(OperationalError, match="MAX_BUFFERED"):
        outbox.add(A, terms(), message("d"))
    assert "d" not in outbox
    broker.refuses = False
    wait_until(lambda: broker.sent == [["a", "b", "c"]])
    fill(outbox, "def")
    assert broker.sent[-1] == ["d", "e", "f"]


def test_too_many_bytes_are_refused(broker: Broker) -> None:
    outbox = Outbox(broker, max_jobs=100, max_bytes=5)
    broker.refuses = True
    fill(outbox, "ab")
    with pytest.raises(OperationalError, match="MAX_BUFFERED_BYTES"):
        fill(outbox, "c")


@pytest.mark.parametrize("limits", [{"max_jobs": 3}, {"max_bytes": 7}])
@pytest.mark.parametrize("delay", [0, LONG])
def test_what_waits_for_others_makes_room(
    broker: Broker, limits: dict[str, int], delay: float
) -> None:
    outbox = Outbox(broker, **{"max_jobs": 100, "max_bytes": 10**6} | limits)
    fill(outbox, "ab", A, size=100, delay=delay)
    fill(outbox, "c", B, size=100, delay=delay)
    assert broker.sent == []
    fill(outbox, "def", A, size=100, delay=delay)
    assert sorted(broker.sent) == [["a", "b"], ["c"]]
    fill(outbox, "g", A, size=100, delay=delay)
    assert broker.sent[2:] == [["d", "e", "f"]]


def test_who_must_not_block_has_the_thread_make_room(broker: Broker) -> None:
    outbox = Outbox(broker, max_jobs=3, max_bytes=10**6)
    fill(outbox, "abc", size=100)
    broker.answers.clear()  # else the thread may have made it in time
    with pytest.raises(OperationalError, match="MAX_BUFFERED"):
        outbox.add(A, terms(), message("d"), may_wait=lambda: False)
    broker.answers.set()
    wait_until(lambda: broker.sent == [["a", "b", "c"]])
    assert threading.current_thread() not in broker.threads


def test_a_delay_holds_what_is_full_but_not_who_is_waited_for(
    outbox: Outbox, broker: Broker
) -> None:
    fill(outbox, "abcdef", delay=LONG)
    assert broker.sent == [["a", "b", "c"]]
    assert not outbox.flush([A])
    assert outbox.flush([A], force=True)
    assert broker.sent == [["a", "b", "c"], ["d", "e", "f"]]


def test_what_is_full_leaves_when_the_delay_is_over(outbox: Outbox, broker: Broker) -> None:
    fill(outbox, "abc", delay=0.2)
    fill(outbox, "d", delay=0.2)
    wait_idle(outbox)
    fill(outbox, "ef", delay=0.2)
    wait_until(lambda: broker.sent == [["a", "b", "c"], ["d", "e", "f"]])


def test_what_is_left_when_another_has_sent_the_rest_waits_for_others(
    outbox: Outbox, broker: Broker
) -> None:
    fill(outbox, "a")
    wait_idle(outbox)
    broker.answers.clear()
    first = threading.Thread(target=fill, args=(outbox, "bc"))
    first.start()
    assert broker.asked.wait(60)
    for id in "def":
        outbox.add(A, terms(), message(id))
        outbox.flush_full(A, wait=False)
    outbox.add(A, terms(), message("g"))
    wait_until(lambda: not outbox._wake._waiters)  # type: ignore[attr-defined]  # the thread is awake
    broker.answers.set()
    first.join(60)
    wait_idle(outbox)
    assert broker.sent == [["a", "b", "c"], ["d", "e", "f"]]
    assert "g" in outbox


def test_a_delay_does_not_let_jobs_pile_up(outbox: Outbox, broker: Broker) -> None:
    crowd = "".join(chr(ord("a") + number) for number in range(3 + 3 * CROWD))
    fill(outbox, crowd, delay=LONG)
    assert len(broker.sent) > 1


def test_while_the_broker_refuses_nobody_else_tries(outbox: Outbox, broker: Broker) -> None:
    broker.refuses = True
    fill(outbox, "abc", A)
    attempts = len(broker.threads)
    fill(outbox, "xyz", B)
    assert not outbox.flush([A, B])
    assert len(broker.threads) == attempts
    broker.refuses = False
    wait_until(lambda: sorted(broker.sent) == [["a", "b", "c"], ["x", "y", "z"]])


def test_who_flushes_behind_a_broker_that_hangs_leaves_it_to_the_thread(
    outbox: Outbox, broker: Broker
) -> None:
    broker.answers.clear()
    first = threading.Thread(target=fill, args=(outbox, "abc"))
    first.start()
    assert broker.asked.wait(60)
    fill(outbox, "d", B)
    assert not outbox.flush([B])
    broker.answers.set()
    first.join(60)
    wait_until(lambda: broker.sent == [["a", "b", "c"], ["d"]])


def test_what_was_taken_is_not_sent_again_with_what_was_refused(broker: Broker) -> None:
    def dispatch(kind: Kind, messages: list[Message]) -> None:
        if broker.refuses:
            broker.refuses = False
            broker.sent.append([message.id for message in messages[1:]])
            raise PartlySent(messages[1:], messages[:1])
        broker(kind, messages)

    flushed: list[int] = []
    outbox = Outbox(
        dispatch,
        max_jobs=100,
        max_bytes=10**6,
        flushed=lambda kind, jobs, reason: flushed.append(jobs),
    )
    broker.refuses = True
    fill(outbox, "abc")
    wait_until(lambda: broker.sent == [["b", "c"], ["a"]])
    wait_until(lambda: flushed == [2, 1])
    assert len(outbox) == outbox._shelf.bytes == 0


def test_a_job_that_cannot_be_sent_is_dropped_alone(
    broker: Broker, lost: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    def dispatch(kind: Kind, messages: list[Message]) -> None:
        if any(message.id == "b" for message in messages):
            raise TypeError("b")
        broker(kind, messages)

    outbox = Outbox(dispatch, max_jobs=100, max_bytes=10**6)
    fill(outbox, "abc")
    assert broker.sent == [["a"], ["c"]]
    assert len(outbox) == 0
    assert [(each["ids"], each["tasks"]) for each in lost] == [(["b"], ["a"])]
    assert "Job a[b] is lost. It cannot be sent: TypeError('b')" in caplog.text


@pytest.mark.parametrize(
    ("errors", "sent"),
    [
        ([SoftTimeLimitExceeded], [["a", "b", "c"]]),
        # Of all; then they are sent one by one: of "a", of "b".
        ([ValueError, None, SoftTimeLimitExceeded], [["a"], ["b", "c"]]),
    ],
)
def test_a_soft_time_limit_reaches_the_task_that_calls_and_no_job_is_lost(
    broker: Broker,
    caplog: pytest.LogCaptureFixture,
    errors: list[type[Exception] | None],
    sent: list[list[str]],
) -> None:
    left = [*errors]

    def dispatch(kind: Kind, messages: list[Message]) -> None:
        if left and (error := left.pop(0)):
            raise error
        broker(kind, messages)

    outbox = Outbox(dispatch, max_jobs=100, max_bytes=10**6)
    fill(outbox, "ab")
    with pytest.raises(SoftTimeLimitExceeded):
        fill(outbox, "c")
    wait_until(lambda: broker.sent == sent)
    assert "lost" not in caplog.text


def test_who_is_interrupted_while_another_sends_leaves_the_sending_to_it(
    outbox: Outbox, broker: Broker
) -> None:
    broker.answers.clear()
    outbox.add(A, terms(timeout=0.0), message("a"))
    assert broker.asked.wait(60)
    sender, sending = outbox._sender, outbox._sending
    assert sender

    class Interrupted:
        release = staticmethod(sending.release)

        def acquire(self, *args: Any) -> bool:
            raise KeyboardInterrupt

    outbox._sending = Interrupted()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        outbox.flush()
    outbox._sending = sending
    assert outbox._sender == sender
    broker.answers.set()
    wait_until(lambda: broker.sent == [["a"]])


def test_nobody_else_loses_a_job_wherever_a_signal_interrupts(broker: Broker) -> None:
    def check(interrupt: Callable[[Callable[[], Any]], None]) -> None:
        outbox = Outbox(broker, max_jobs=100, max_bytes=10**6)
        fill(outbox, "ab")
        interrupt(lambda: fill(outbox, "c"))
        outbox.flush(force=True)
        wait_until(lambda: not len(outbox))
        assert [*chain(*broker.sent)] in (["a", "b"], ["a", "b", "c"])
        assert outbox._shelf.bytes == 0
        fill(outbox, "xyz")
        outbox.flush(force=True)
        wait_until(lambda: not len(outbox))
        assert [*chain(*broker.sent)][-3:] == ["x", "y", "z"]
        outbox.hold_for_fork()  # which ends its thread

    lines = 0
    for interrupt in interruptions(outbox_module, shelf, buffer):
        check(interrupt)
        broker.sent.clear()
        lines += 1
    assert lines > 100


def test_two_jobs_of_one_id_are_both_sent(outbox: Outbox, broker: Broker) -> None:
    fill(outbox, "aa")
    assert len(outbox) == 2
    assert outbox.flush()
    assert broker.sent == [["a", "a"]]
    assert outbox._shelf.bytes == 0


def test_a_call_made_while_its_like_is_on_its_way_is_not_found(
    outbox: Outbox, broker: Broker
) -> None:
    outbox.add(A, terms(timeout=0.0), message("a", "key"))
    broker.answers.clear()
    assert broker.asked.wait(60)
    wait_until(lambda: outbox.find("key") is None)
    broker.refuses = True
    broker.answers.set()
    wait_until(lambda: outbox.find("key") == "a")  # it waits again


def test_what_is_empty_is_not_kept(outbox: Outbox, broker: Broker) -> None:
    for number in range(20):
        outbox.add(Kind(app, block=number + 1), terms(timeout=0.0), message(str(number)))
    wait_until(lambda: len(broker.sent) == 20 and not outbox._shelf.buffers)


def test_a_fork_waits_for_a_sending_and_others_go_on_after_it(
    outbox: Outbox, broker: Broker
) -> None:
    broker.answers.clear()
    thread = threading.Thread(target=fill, args=(outbox, "abc"))
    thread.start()
    assert broker.asked.wait(60)
    threading.Timer(0.2, broker.answers.set).start()
    outbox.hold_for_fork()
    assert broker.sent == [["a", "b", "c"]]
    outbox.resume_after_fork()
    fill(outbox, "def")
    assert broker.sent[1:] == [["d", "e", "f"]]
    thread.join(60)


def test_two_forks_at_the_same_time_hold_nothing_back_afterwards(
    outbox: Outbox, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_optimizer.tasks.outbox.PATIENCE", 0.01)
    outbox.hold_for_fork()
    other_holds, other_resumes = threading.Event(), threading.Event()

    def fork() -> None:
        outbox.hold_for_fork()
        other_holds.set()
        assert other_resumes.wait(60)
        outbox.resume_after_fork()

    other = threading.Thread(target=fork)
    other.start()
    assert other_holds.wait(60)
    outbox.resume_after_fork()
    fill(outbox, "abc")
    assert broker.sent == [["a", "b", "c"]]
    assert outbox._thread is None  # the other one is still under way
    other_resumes.set()
    other.join(60)
    fill(outbox, "de", timeout=0.0)
    wait_until(lambda: sorted(id for sent in broker.sent[1:] for id in sent) == ["d", "e"])


def test_an_outbox_that_is_made_during_a_fork_sends(outbox: Outbox, broker: Broker) -> None:
    outbox.resume_after_fork()
    fill(outbox, "a", timeout=0.0)
    wait_until(lambda: broker.sent == [["a"]])


def test_a_job_may_be_taken_out_while_it_is_here(outbox: Outbox, broker: Broker) -> None:
    fill(outbox, "ab")
    taken = outbox.remove("a")
    assert taken is not None
    assert taken.id == "a"
    assert outbox.remove("a") is None
    assert "a" not in outbox
    outbox.flush()
    assert broker.sent == [["b"]]
    assert outbox.remove("b") is None


def test_a_dedup_key_finds_the_job_while_it_is_here(outbox: Outbox) -> None:
    outbox.add(A, terms(), message("a", "key"))
    assert outbox.find("key") == "a"
    outbox.flush()
    assert outbox.find("key") is None


def test_a_block_is_sent_when_it_closes_and_later_when_it_cannot_be(
    outbox: Outbox, broker: Broker
) -> None:
    kind = Kind(app, block=1)
    broker.refuses = True
    for id in "ab":
        outbox.add(kind, terms(size=100, timeout=float("inf")), message(id))
    assert not outbox.flush([kind])
    assert len(outbox) == 2
    broker.refuses = False
    wait_until(lambda: broker.sent == [["a", "b"]])


def test_a_log_handler_may_send_jobs(outbox: Outbox, broker: Broker) -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            fill(outbox, "xyz", B)

    logger = logging.getLogger("redis_optimizer.tasks")
    handler = Handler()
    logger.addHandler(handler)
    try:
        broker.refuses = True
        fill(outbox, "abc")
    finally:
        logger.removeHandler(handler)
    assert {"a", "b", "c", "x", "y", "z"} == {id for id in "abcxyz" if id in outbox}


def test_closing_sends_everything(outbox: Outbox, broker: Broker) -> None:
    fill(outbox, "ab", A)
    fill(outbox, "c", B, delay=LONG)
    outbox.close(5)
    assert sorted(broker.sent) == [["a", "b"], ["c"]]


def test_closing_tries_again(outbox: Outbox, broker: Broker) -> None:
    broker.refuses = True
    fill(outbox, "abc")
    threading.Timer(0.3, setattr, (broker, "refuses", False)).start()
    outbox.close(5)
    assert broker.sent == [["a", "b", "c"]]


@pytest.fixture
def lost() -> Iterator[list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []

    def receive(**values: Any) -> None:
        seen.append(values)

    jobs_lost.connect(receive)
    yield seen
    jobs_lost.disconnect(receive)


def test_what_cannot_be_sent_at_the_end_is_named(
    outbox: Outbox,
    broker: Broker,
    caplog: pytest.LogCaptureFixture,
    lost: list[dict[str, Any]],
) -> None:
    broker.refuses = True
    fill(outbox, "ab", A)
    with caplog.at_level(logging.CRITICAL, "redis_optimizer"):
        outbox.close(0.2)
        outbox.close(0.2)
    assert [record.getMessage() for record in caplog.records] == [
        "Job a[a] is lost. The broker does not answer.",
        "Job a[b] is lost. The broker does not answer.",
    ]
    assert [(each["ids"], each["tasks"]) for each in lost] == [(["a", "b"], ["a", "a"])]


def test_what_is_on_its_way_at_the_end_may_be_lost(
    outbox: Outbox, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.answers.clear()
    fill(outbox, "a", timeout=0.0)
    assert broker.asked.wait(60)
    with caplog.at_level(logging.CRITICAL, "redis_optimizer"):
        outbox.close(0.1)
    assert "may be lost: it is not known to be sent" in caplog.text


def test_after_the_end_jobs_are_sent_by_who_calls_for_them(
    outbox: Outbox, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    fill(outbox, "a")
    outbox.close(5)
    fill(outbox, "b")
    assert broker.sent == [["a"], ["b"]]
    broker.refuses = True
    fill(outbox, "c")
    assert "Job a[c] is lost" in caplog.text


def test_jobs_of_many_threads_are_sent_once_each(broker: Broker) -> None:
    outbox = Outbox(broker, max_jobs=10**6, max_bytes=10**9)

    def produce(prefix: str) -> None:
        for number in range(300):
            outbox.add(A, terms(size=7, timeout=0.01), message(f"{prefix}{number}"))
            outbox.flush_full(A)

    threads = [threading.Thread(target=produce, args=(prefix,)) for prefix in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    outbox.close(10)
    ids = [id for batch in broker.sent for id in batch]
    assert len(ids) == len(set(ids)) == 2_400
    assert max(map(len, broker.sent)) == 7


def test_the_start_is_told_once(broker: Broker) -> None:
    starts: list[Callable[[], None]] = []
    outbox = Outbox(broker, max_jobs=9, max_bytes=10**6, started=lambda: starts.append(print))
    fill(outbox, "ab")
    assert len(starts) == 1


def test_a_thread_that_cannot_be_had_once_is_had_later(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container is at its limit of processes for a moment."""
    outbox = Outbox(broker, max_jobs=100, max_bytes=10**6)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        fill(outbox, "a")
    assert broker.sent == [["a"]]  # by who called for it
    broker.refuses = True
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        fill(outbox, "b")
    assert len(outbox) == 1
    fill(outbox, "c")  # now there is one
    broker.refuses = False
    wait_until(lambda: len(outbox) == 0)
    assert sorted(chain(*broker.sent)) == ["a", "b", "c"]


def test_two_threads_that_call_first_have_one_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    made = threading.Barrier(2)

    class Late(Outbox):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.wait(60)

    monkeypatch.setattr(batching, "_current", None)
    monkeypatch.setattr(batching, "Outbox", Late)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: batching.outbox(), range(2))
    assert first is second is batching.outbox()
