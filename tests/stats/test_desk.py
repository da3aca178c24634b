"""A question is answered once; whatever else comes does nothing but count."""

import json
import os
import signal

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from redis_optimizer.stats.desk import ANSWERS, BURST, Desk
from redis_optimizer.stats.desk import desk as shared
from redis_optimizer.stats.messages import Question, read_answer
from redis_optimizer.stats.registry import Registry
from redis_optimizer.stats.signing import sign


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
    error: Exception | None = None

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
