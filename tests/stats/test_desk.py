"""A question is answered once; whatever else comes does nothing but count."""

import json
import os
import signal
import threading
import time

import pytest
from django.test import override_settings
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from redis_optimizer import switches
from redis_optimizer.stats.desk import ANSWERS, BURST, Desk
from redis_optimizer.stats.desk import desk as shared
from redis_optimizer.stats.messages import Question, read_answer
from redis_optimizer.stats.process import facts
from redis_optimizer.stats.registry import Registry
from redis_optimizer.stats.signing import sign
from redis_optimizer.stats.states import pack_states, read_states
from redis_optimizer.switches import State
from tests.servers import wait_until


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source() -> Registry:
    source = Registry()
    source.register("caches", lambda: {"hits": 3}, lambda: {"hits": 3})
    return source


@pytest.fixture
def desk(source: Registry, clock: Clock) -> Desk:
    return Desk(source, clock)


class Published(list[tuple[str, bytes]]):
    """A channel of which the answers are kept, and one key of the server."""

    kept: bytes | None = None
    added: bytes | None = None
    replaced = 0
    error: Exception | None = None

    def __init__(self) -> None:
        self.others: list[bytes] = []

    def publish(self, channel: str, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.append((channel, data))

    def read(self, key: str) -> bytes | None:
        assert key == "redis_optimizer:default:switches"
        if self.error is not None:
            raise self.error
        return self.kept

    def add(self, key: str, value: bytes) -> None:
        assert key == "redis_optimizer:default:switches"
        self.added = value

    def replace(self, key: str, before: bytes, value: bytes) -> bool:
        assert key == "redis_optimizer:default:switches"
        self.replaced += 1
        if self.others:  # somebody else was faster
            self.kept = self.others.pop()
        if self.kept != before:
            return False
        self.kept = value
        return True


@pytest.fixture
def published() -> Published:
    return Published()


def test_a_question_is_answered_on_its_own_channel(desk: Desk, published: Published) -> None:
    question = Question()
    desk.on_message(question.pack(), published)
    ((channel, data),) = published
    assert channel == f"redis_optimizer:default:{question.id}"
    answer = read_answer(data, question)
    assert (answer.totals, answer.history) == ({"caches": {"hits": 3}}, None)


def test_the_history_is_sent_where_it_is_asked_for(desk: Desk, published: Published) -> None:
    question = Question(history=True)
    desk.on_message(question.pack(), published)
    history = read_answer(published[0][1], question).history
    assert history is not None
    assert history["step"] == 10


def test_what_is_done_is_told(desk: Desk, published: Published) -> None:
    done: list[str] = []

    def clear() -> dict[str, int]:
        done.append("clear")
        return {"entries": 7}

    desk.register("clear", clear)
    desk.on_message(Question().pack(), published)
    assert done == []
    question = Question("clear")
    desk.on_message(question.pack(), published)
    assert done == ["clear"]
    assert read_answer(published[1][1], question).totals["done"] == {"entries": 7}


@pytest.mark.parametrize(
    ("data", "counted"),
    [
        (b"", "forged"),
        (b"{}", "forged"),
        (b"\xff", "forged"),
        (b":" * 65, "forged"),
        (Question().pack().partition(b":")[2], "forged"),
        (sign("answer", Question().pack().partition(b":")[2]), "forged"),
        (b"[" * 1_000_000, "ignored"),
        (sign("question", json.dumps({"v": 2, "ask": "exec"}).encode()), "ignored"),
    ],
    ids=["empty", "no question", "no text", "colons", "unsigned", "an answer", "huge", "unknown"],
)
def test_anything_else_only_counts(
    desk: Desk, published: Published, data: bytes, counted: str
) -> None:
    desk.on_message(data, published)
    assert published == []
    nothing = dict.fromkeys(("answered", "ignored", "forged", "refused", "failed"), 0)
    assert desk.totals() == {**nothing, counted: 1}


def test_a_flood_of_questions_is_answered_a_few_times_a_second(
    desk: Desk, published: Published, clock: Clock
) -> None:
    for _ in range(1_000):
        desk.on_message(Question().pack(), published)
    assert (len(published), desk.refused) == (BURST, 1_000 - BURST)
    clock.at += 1
    for _ in range(1_000):
        desk.on_message(Question("clear").pack(), published)
    assert len(published) == BURST + ANSWERS
    clock.at += 3600
    for _ in range(1_000):
        desk.on_message(Question().pack(), published)
    assert len(published) == 2 * BURST + ANSWERS


def test_an_error_of_a_source_does_not_end_the_channel(
    desk: Desk, source: Registry, published: Published
) -> None:
    source.register("broken", lambda: {"self": source.totals})  # nothing that JSON knows
    source.register("bad", lambda: {("a", "b"): 1})  # type: ignore[dict-item]
    desk.on_message(Question().pack(), published)
    assert (published, desk.failed) == ([], 1)


def test_a_connection_that_is_lost_ends_it(desk: Desk, published: Published) -> None:
    published.error = RedisConnectionError()
    with pytest.raises(RedisConnectionError):
        desk.on_message(Question().pack(), published)


def switch(on: bool, at: float = 1_000.0) -> Question:
    return Question("switch", switch=("cache", State(on=on, at=at, by="root")))


def test_a_part_is_switched_and_that_is_told(desk: Desk, published: Published) -> None:
    for on in (False, True):
        question = switch(on, at=1_000.0 + on)
        desk.on_message(question.pack(), published)
        done = read_answer(published[-1][1], question).totals["done"]
        assert done == {"part": "cache", "on": on}
        assert switches.is_on("cache") is on


def test_it_is_logged_who_switched_what(
    desk: Desk, published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    desk.on_message(switch(False).pack(), published)
    assert caplog.messages == ["The part 'cache' is switched off by root."]


def test_a_switch_that_is_out_of_date_is_answered_by_how_it_is(
    desk: Desk, published: Published
) -> None:
    desk.on_message(switch(False, at=2_000.0).pack(), published)
    question = switch(True, at=1_000.0)
    desk.on_message(question.pack(), published)
    assert read_answer(published[-1][1], question).totals["done"] == {"part": "cache", "on": False}
    later = Question("switch", switch=("of_a_later_version", State(on=False, at=1.0)))
    desk.on_message(later.pack(), published)
    assert "done" not in read_answer(published[-1][1], later).totals


def test_a_message_that_is_repeated_does_nothing(
    desk: Desk, published: Published, clock: Clock
) -> None:
    off, on = switch(False, at=1.0).pack(), switch(True, at=2.0).pack()
    for data in (off, on):
        desk.on_message(data, published)
    for data in (off, on, off):
        desk.on_message(data, published)
    assert switches.is_on("cache")
    assert (len(published), desk.ignored) == (2, 3)
    other = Published()
    desk.on_message(on, other)  # a process hears a question on each of its channels
    assert len(other) == 1
    clock.at += 601
    desk.on_message(Question().pack(), published)
    assert len(desk._heard) == 1  # nobody can repeat the others any more


def test_a_flood_of_questions_takes_no_memory(
    desk: Desk, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_optimizer.stats.desk.REMEMBERED", 10)
    for _ in range(50):
        desk.on_message(Question().pack(), published)
    assert len(desk._heard) == 10


def test_that_clocks_differ_is_said_once(
    desk: Desk, published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        desk.on_message(Question(at=time.time() - 1000).pack(), published)
    (said,) = caplog.messages
    assert "sent 1000 s ago; the clocks of the machines of a site may differ by 300 s" in said


def test_that_keys_differ_is_said_once(
    desk: Desk, published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    with override_settings(SECRET_KEY="another"):
        another = Question().pack()
    for _ in range(3):
        desk.on_message(another, published)
    (said,) = caplog.messages
    assert "SECRET_KEY_FALLBACKS" in said
    assert "NAMESPACE" in said


def test_a_message_that_is_old_does_nothing(desk: Desk, published: Published) -> None:
    state = State(on=False, at=2.0)
    for seconds in (-301, 301):
        old = Question("switch", switch=("cache", state), at=time.time() + seconds)
        desk.on_message(old.pack(), published)
    assert (published, desk.ignored, switches.is_on("cache")) == ([], 2, True)


def test_forgers_spend_nothing_of_what_a_process_answers(desk: Desk, published: Published) -> None:
    with override_settings(SECRET_KEY="another"):
        data = [switch(False).pack() for _ in range(3 * BURST)]
    for each in data:
        desk.on_message(each, published)
    assert (published, desk.forged, switches.is_on("cache")) == ([], 3 * BURST, True)
    for _ in range(BURST):
        desk.on_message(Question().pack(), published)
    assert len(published) == BURST


def test_what_is_for_one_process_is_left_alone_by_the_others(
    desk: Desk, published: Published
) -> None:
    desk.register("clear", lambda: {"entries": 1})
    for _ in range(2 * BURST):
        desk.on_message(Question("clear", only="f" * 32).pack(), published)
    assert (published, desk.answered, desk.refused) == ([], 0, 0)
    desk.on_message(Question("clear", only=facts()["id"]).pack(), published)
    assert len(published) == 1


def test_what_takes_a_moment_is_done_by_a_thread_of_its_own(
    desk: Desk, published: Published
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def flush() -> dict[str, int]:
        begun.set()
        assert may_end.wait(60)
        return {"jobs": 3, "left": 0}

    desk.register("flush", flush, waits=True)
    question = Question("flush")
    desk.on_message(question.pack(), published)
    assert begun.wait(60)
    assert published == []  # and yet this thread goes on
    may_end.set()
    wait_until(lambda: published)
    assert read_answer(published[0][1], question).totals["done"] == {"jobs": 3, "left": 0}


def test_an_answer_that_a_thread_cannot_send_is_no_error(desk: Desk, published: Published) -> None:
    desk.register("flush", lambda: {"jobs": 0, "left": 0}, waits=True)
    published.error = RedisConnectionError()
    desk.on_message(Question("flush").pack(), published)
    wait_until(lambda: desk.answered == 1)


def test_what_is_kept_is_learned_when_the_channel_connects(
    desk: Desk, published: Published
) -> None:
    published.kept = pack_states({"cache": State(on=False, at=1.0)})
    desk.on_connect(published)
    assert not switches.is_on("cache")
    switches.learn({"cache": State(on=True, at=3.0)})
    desk.on_connect(published)
    assert switches.is_on("cache")


def test_what_is_known_better_is_kept_in_place_of_what_was_before(
    desk: Desk, published: Published
) -> None:
    cache, dedup = State(on=True, at=5.0, by="root"), State(on=False, at=4.0)
    older = {"cache": State(on=False, at=1.0), "dedup": dedup, "of_a_later_version": dedup}
    switches.learn({"cache": cache})
    published.kept = pack_states(older)
    desk.on_connect(published)
    assert read_states(published.kept) == {**older, "cache": cache}
    assert (switches.is_on("cache"), switches.is_on("dedup")) == (True, False)
    desk.on_connect(published)
    assert published.replaced == 1  # they agree now


def test_an_order_that_comes_meanwhile_is_kept(desk: Desk, published: Published) -> None:
    switches.learn({"cache": State(on=False, at=5.0)})
    published.kept = pack_states({"cache": State(on=True, at=1.0)})
    order = pack_states({"cache": State(on=True, at=6.0)})
    published.others = [order, pack_states({"cache": State(on=True, at=2.0)})]
    desk.on_connect(published)
    assert published.kept == order
    assert switches.is_on("cache")


@pytest.mark.parametrize(
    ("kept", "error"),
    [
        (b"nonsense", None),
        (sign("question", b'{"v":1,"parts":{}}'), None),
        (sign("switches", b"{"), None),
        (sign("switches", b'{"v":9}'), None),
        (None, ResponseError("NOPERM this user has no permissions")),
    ],
)
def test_what_cannot_be_read_is_ignored_and_logged_once(
    desk: Desk,
    published: Published,
    kept: bytes | None,
    error: Exception | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    published.kept, published.error = kept, error
    for _ in range(3):
        desk.on_connect(published)
    assert len(caplog.messages) == 1
    assert all(map(switches.is_on, switches.PARTS))
    assert published.added is None


def test_what_was_deleted_is_written_again_while_a_part_is_off_and_only_then(
    desk: Desk, published: Published
) -> None:
    desk.on_flushed(published)
    desk.on_connect(published)
    assert published.added is None
    state = State(on=False, at=1.0, by="root")
    switches.learn({"cache": state, "dedup": State(on=True, at=1.0)})
    for deleted in (desk.on_flushed, desk.on_connect):
        published.added = None
        deleted(published)
        assert published.added is not None
        assert read_states(published.added)["cache"] == state
    switches.learn({"cache": State(on=True, at=2.0)})
    published.added = None
    desk.on_flushed(published)
    assert published.added is None


def test_a_child_that_was_forked_without_a_word_counts_from_nothing(
    desk: Desk, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.on_message(Question().pack(), published)
    assert desk.totals()["answered"] == 1
    monkeypatch.setattr(desk, "_pid", -1)  # as uWSGI, which forks in C, leaves it
    assert desk.totals()["answered"] == 0
    desk.on_message(Question().pack(), published)
    assert desk.totals()["answered"] == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_answers_without_the_parents_lock(published: Published) -> None:
    with shared._lock:  # as another thread of the parent may hold it
        child = os.fork()
        if not child:
            signal.alarm(30)  # rather than wait for ever
            shared.on_message(Question().pack(), published)
            os._exit(shared.answered)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
