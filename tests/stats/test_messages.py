"""Messages are checked before they are believed, signed or not."""

import json
import math
from typing import Any

import pytest
from django.test import override_settings

from redis_optimizer.stats.gathered import Gathered, Process
from redis_optimizer.stats.messages import (
    MAX_ANSWER,
    MAX_QUESTION,
    Answer,
    Question,
    pack_answer,
    read_answer,
    read_question,
    reply_channel,
)
from redis_optimizer.stats.process import facts
from redis_optimizer.stats.signing import SIGNATURE, Forged, sign
from redis_optimizer.switches import PARTS, State

ID = "0123456789abcdef" * 2
NOW = 1_800_000_000.0
STATE = State(on=False, at=NOW, by="root")
SAID: dict[str, Any] = {"part": "cache", "on": False, "at": NOW, "by": "root"}
GOOD: dict[str, Any] = {
    "v": 2,
    "ask": "stats",
    "history": False,
    "only": None,
    "switch": None,
    "at": NOW,
    "id": ID,
}
SWITCH: dict[str, Any] = {**GOOD, "ask": "switch", "switch": SAID}
QUESTION = Question(id=ID)


def signed_question(message: Any) -> bytes:
    return sign("question", json.dumps(message).encode())


def signed_answer(message: Any) -> bytes:
    return sign("answer", json.dumps(message).encode())


@pytest.mark.parametrize(
    "question",
    [
        Question(at=NOW),
        Question("clear", only=ID, at=NOW),
        Question("flush", at=NOW),
        Question(history=True, at=NOW),
        Question("switch", switch=("cache", STATE), at=NOW),
        Question("switch", switch=("cache", State(on=True, at=NOW, by="\U0001f600" * 100)), at=NOW),
        Question("switch", switch=("of_a_later_version", STATE), at=NOW),
    ],
)
def test_a_question_arrives_as_it_was_sent(question: Question) -> None:
    assert read_question(question.pack(), NOW) == question
    assert len(question.pack()) < MAX_QUESTION


def test_who_says_so_is_tidied_and_not_refused() -> None:
    for name in ("n" * 1_000, "a\nb", "\x1b[2J", "\ud800"):
        question = Question("switch", switch=("cache", State(on=True, at=NOW, by=name)), at=NOW)
        assert question.switch is not None
        seen = read_question(question.pack(), NOW).switch
        assert seen is not None
        assert 0 < len(seen[1].by) <= 100
        assert seen[1].by.isprintable()


@pytest.mark.parametrize("seconds", [-301, 301, 1e9])
def test_a_question_is_good_for_five_minutes(seconds: float) -> None:
    data = Question(at=NOW).pack()
    assert read_question(data, NOW + math.copysign(299, seconds))
    with pytest.raises(ValueError, match="clocks of the machines"):
        read_question(data, NOW + seconds)


def test_two_questions_have_two_ids() -> None:
    assert Question().id != Question().id


@pytest.mark.parametrize(
    "message",
    [
        {**GOOD, "v": 1},
        {**GOOD, "v": "2"},
        {**GOOD, "at": "now"},
        {**GOOD, "at": None},
        {**GOOD, "only": "x"},
        {**GOOD, "only": 7},
        {**GOOD, "switch": SAID},
        {**SWITCH, "switch": None},
        {**SWITCH, "switch": []},
        {**GOOD, "ask": "flushall"},
        {**GOOD, "ask": ["stats"]},
        {**GOOD, "history": 1},
        {**GOOD, "id": "x" * 32},
        {**GOOD, "id": ID + "\n"},
        {**GOOD, "id": f"{ID}:other"},
        {**GOOD, "id": 7},
        {**GOOD, "reply": "another channel"},
        {"v": 2, "ask": "stats", "history": False},
        {},
        [],
        None,
        7,
        "stats",
    ],
)
def test_what_is_no_question_is_refused(message: Any) -> None:
    with pytest.raises(ValueError, match="no question"):
        read_question(signed_question(message), NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"part": 7},
        {"part": "a b"},
        {"part": "p" * 31},
        {"on": 1},
        {"on": "off"},
        {"at": 0},
        {"at": -1},
        {"at": 1e30},
        {"at": "now"},
        {"by": None},
        {"by": "a\nb"},
        {"by": "n" * 101},
        {"more": 1},
    ],
)
def test_what_is_no_switch_is_refused(changes: dict[str, Any]) -> None:
    assert read_question(signed_question(SWITCH), NOW).switch == ("cache", STATE)
    with pytest.raises(ValueError, match=r"no part|no state"):
        read_question(signed_question({**SWITCH, "switch": {**SAID, **changes}}), NOW)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\x00",
        b"{",
        b"[" * MAX_QUESTION,
        b"[" * 100_000,
        json.dumps(GOOD).encode() + b" " * (MAX_QUESTION - 65),
        b'{"v": NaN}',
        b'{"v": ' + b"9" * 400 + b"}",
    ],
)
def test_what_is_no_json_or_too_large_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_question(sign("question", data), NOW)


def test_an_answer_goes_nowhere_but_to_a_channel_of_ours() -> None:
    assert reply_channel("site", ID) == f"redis_optimizer:site:{ID}"


def test_an_answer_arrives_as_it_was_sent() -> None:
    history = {"step": 10.0, "begins": 0.0, "series": {"a.n": [1, 2]}}
    answer = Answer(facts(), {"caches": {"default": {"hits": 1, "ratio": 0.5}}}, history)
    assert read_answer(pack_answer(QUESTION, answer), QUESTION) == answer


def test_what_is_too_large_is_left_out_and_named() -> None:
    history = {"step": 10.0, "begins": 0.0, "series": {"a.n": [1] * 360}}
    views = {f"view {number}": {"requests": 1} for number in range(20_000)}
    answer = Answer(facts(), {"views": views, "caches": {"n": 1}}, history)
    data = pack_answer(QUESTION, answer)
    assert len(data) <= MAX_ANSWER
    seen = read_answer(data, QUESTION)
    assert (seen.totals, seen.history) == ({"caches": {"n": 1}}, None)
    assert seen.dropped == ("history", "views")


@pytest.mark.parametrize("name", ["v" * 1_000, "a\nb", "\x1b[2J", "\ud800"])
def test_a_name_that_nobody_would_accept_is_cut(name: str) -> None:
    history = {"step": 10.0, "begins": 0.0, "series": {name: [1]}}
    totals = {"views": {name: {"requests": 3}, "home": {"requests": 1}}}
    answer = Answer(facts() | {"host": name}, totals, history)
    seen = read_answer(pack_answer(QUESTION, answer), QUESTION)
    assert seen.totals["views"]["home"] == {"requests": 1}
    (cut,) = seen.totals["views"].keys() - {"home"}
    assert seen.totals["views"][cut] == {"requests": 3}
    assert seen.history is not None
    assert list(seen.history["series"]) == [cut] == [seen.process["host"]]
    assert len(cut) <= 300


def test_what_nobody_would_accept_is_left_out_and_the_rest_is_sent() -> None:
    history = {"step": 10.0, "begins": 0.0, "series": {"a.n": [float("nan")]}}
    numbers = {"hits": 1, "mean": float("inf"), "bytes": 2**70, "at": object, "deep": deep(9)}
    answer = Answer(facts(), {"caches": numbers, "text": "no totals"}, history)  # type: ignore[arg-type]
    seen = read_answer(pack_answer(QUESTION, answer), QUESTION)
    caches = seen.totals["caches"]
    assert (caches["hits"], caches["mean"], caches["bytes"]) == (1, None, None)
    assert (list(seen.totals), seen.history) == (["caches"], None)
    assert seen.dropped == ("text", "history")


def message(**changes: Any) -> dict[str, Any]:
    whole = {"v": 2, "id": ID, "process": facts(), "totals": {}, "history": None, "dropped": []}
    return whole | changes


def deep(levels: int) -> dict[str, Any]:
    return {"a": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 1},
        {"id": "f" * 32},
        {"process": {}},
        {"process": facts() | {"pid": "1"}},
        {"process": facts() | {"pid": True}},
        {"process": facts() | {"id": "me"}},
        {"process": facts() | {"host": "\x1b[2J"}},
        {"process": facts() | {"host": "h" * 1_000}},
        {"totals": {"caches": 7}},
        {"totals": {"caches": {"a\nb": 7}}},
        {"totals": {"caches": {"a": 2**70}}},
        {"totals": {"caches": {"a": 10**400}}},
        {"totals": {"caches": {"a": -(10**400)}}},
        {"totals": deep(20)},
        {"history": {}},
        {"history": {"step": 0, "begins": 0, "series": {}}},
        {"history": {"step": 10, "begins": 0, "series": {"a": "bc"}}},
        {"history": {"step": 10, "begins": 0, "series": {"a": [1], "b": [1, 2]}}},
        {"history": {"step": 10, "begins": 0, "series": {"a": [None]}}},
        {"history": {"step": 10, "begins": 0, "series": {"a": [0] * 5_000}}},
        {"history": {"step": 10, "begins": 2**80, "series": {}}},
        {"dropped": {}},
    ],
)
def test_what_is_no_answer_is_refused(changes: dict[str, Any]) -> None:
    read_answer(signed_answer(message()), QUESTION)
    with pytest.raises(ValueError, match=r"."):
        read_answer(signed_answer(message(**changes)), QUESTION)


def test_an_answer_that_is_not_signed_by_this_site_is_refused() -> None:
    with pytest.raises(Forged):
        read_answer(json.dumps(message()).encode(), QUESTION)
    signed = signed_answer(message())
    with override_settings(SECRET_KEY="another"), pytest.raises(Forged):
        read_answer(signed, QUESTION)


def test_an_answer_that_is_nested_beyond_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="deep"):
        read_answer(sign("answer", b"[" * (MAX_ANSWER - SIGNATURE - 1)), QUESTION)


def test_an_answer_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        read_answer(b" " * (MAX_ANSWER + 1), QUESTION)


def test_an_answer_tells_what_is_switched_off() -> None:
    said = {"cache": State(False, 5.0, "ann"), "dedup": State()}
    seen = read_answer(pack_answer(QUESTION, Answer(facts(), {}, states=said)), QUESTION)
    assert seen.states == {"cache": said["cache"]}  # of the other nobody has said anything
    earlier = Process(facts(), {}, None, 0, states={"cache": State(True, 4.0, "bob")})
    silent = Process(facts(), {}, None, 0)  # of an earlier version
    told = Process(facts(), {}, None, 0, states=seen.states)
    assert Gathered([told, silent, earlier]).states() == dict.fromkeys(PARTS, State()) | seen.states
    assert Gathered([silent]).states() is None
