"""Whatever is published or kept in Redis: it is understood, or a ValueError, and never more."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from redis_optimizer.stats.desk import BURST, Desk
from redis_optimizer.stats.messages import (
    MAX_ANSWER,
    MAX_QUESTION,
    Answer,
    Question,
    pack_answer,
    read_answer,
    read_question,
)
from redis_optimizer.stats.plain import check_history, check_plain, tidy
from redis_optimizer.stats.process import facts
from redis_optimizer.stats.registry import Registry
from redis_optimizer.stats.signing import SIGNATURE, Forged, sign, unsign
from redis_optimizer.stats.states import pack_state, pack_states, read_state, read_states
from redis_optimizer.switches import PARTS, State
from tests.anything import ANY_JSON, ANY_TEXT, ANY_VALUE, near, refusal

NOW = 1_700_000_000.0
STATE = State(False, NOW, "me")
QUESTIONS = [
    Question("stats", history=True, at=NOW),
    Question("switch", switch=("cache", STATE), at=NOW),
    Question("flush", only="0" * 32, at=NOW),
]
HISTORY = {"step": 10, "begins": NOW, "series": {"hits": [1, 2, 3], "misses": [0, 0, 1]}}


class Nowhere:
    """A line on which nothing is said."""

    def publish(self, channel: str, data: bytes) -> None: ...
    def read(self, key: str) -> None: ...
    def add(self, key: str, value: bytes) -> None: ...


def content(signed: bytes) -> Any:
    return json.loads(signed[SIGNATURE:])


def packed(value: Any) -> bytes:
    return json.dumps(value).encode()


@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda data: b"0" * 64 + b":" + data))
@example(b"")
@example(b"[" * 100_000)
@example(b"\xff" * 64 + b":{}")
def test_bytes_are_no_message(data: bytes) -> None:
    readers: list[Any] = [
        lambda: read_question(data, NOW),
        lambda: read_answer(data, QUESTIONS[0]),
        lambda: read_states(data),
    ]
    for read in readers:
        error = refusal(read, ValueError)
        assert isinstance(error, Forged) or (error and len(data) > MAX_QUESTION)


@given(st.sampled_from(["question", "answer", "switches"]), st.binary(max_size=50), st.data())
def test_a_signature_is_good_for_one_message_of_one_kind(
    kind: Any, data: bytes, choose: st.DataObject
) -> None:
    signed = sign(kind, data)
    assert unsign(kind, signed) == data
    place = choose.draw(st.integers(0, len(signed) - 1))
    forged = signed[:place] + bytes([signed[place] ^ 1]) + signed[place + 1 :]
    others = [other for other in ("question", "answer", "switches") if other != kind]
    for other, message in [(kind, forged), *((other, signed) for other in others)]:
        try:
            unsign(other, message)
        except Forged:
            continue
        raise AssertionError("it was believed")


@given(st.data())
def test_of_what_is_signed_a_question_is_understood_or_refused(data: st.DataObject) -> None:
    """Another release of this site may have sent it."""
    question = content(data.draw(st.sampled_from(QUESTIONS)).pack())
    changed = near(data.draw, question)
    try:
        read = read_question(sign("question", packed(changed)), NOW)
    except ValueError:
        return
    again = content(read.pack())
    assert again | {"at": float(again["at"])} == changed | {"at": float(changed["at"])}


@example([])
@example({"v": 1, "parts": {"cache": {"on": True, "at": 10**400, "by": ""}}})
@given(ANY_JSON | st.builds(lambda parts: {"v": 1, "parts": parts}, ANY_JSON))
def test_of_what_is_signed_states_are_understood_or_refused(value: Any) -> None:
    try:
        states = read_states(sign("switches", packed(value)))
    except ValueError:
        return
    assert all(isinstance(state, State) for state in states.values())


@given(st.data())
def test_states_that_are_nearly_right_are_understood_or_refused(data: st.DataObject) -> None:
    states = content(pack_states(dict.fromkeys(PARTS, STATE)))
    try:
        read = read_states(sign("switches", packed(near(data.draw, states))))
    except ValueError:
        return
    assert all(read_state(pack_state(state)) == state for state in read.values())


@given(st.data())
def test_an_answer_that_is_nearly_right_is_plain_or_refused(data: st.DataObject) -> None:
    question = Question("stats", history=True)
    good = Answer(facts(), {"caches": {"hits": 3, "names": ["a"]}}, HISTORY)
    answer = near(data.draw, content(pack_answer(question, good)))
    try:
        read = read_answer(sign("answer", packed(answer)), question)
    except ValueError:
        return
    check_plain(dict(read.totals))
    check_plain(dict(read.process))


@given(st.dictionaries(ANY_TEXT, ANY_VALUE, max_size=4), ANY_VALUE | st.just(HISTORY))
def test_whatever_a_process_tells_of_itself_is_read(totals: dict[str, Any], history: Any) -> None:
    question = Question("stats", history=True)
    given_history = history if isinstance(history, dict) else None
    data = pack_answer(question, Answer(facts(), totals, given_history))
    assert len(data) <= MAX_ANSWER
    assert read_answer(data, question).process["id"] == facts()["id"]


@given(ANY_VALUE)
def test_what_is_tidied_is_plain(value: Any) -> None:
    check_plain(tidy(value))


@given(st.data())
def test_a_history_is_of_one_form(data: st.DataObject) -> None:
    changed = near(data.draw, HISTORY)
    try:
        check_history(changed)
    except ValueError:
        return
    assert {type(n) for row in changed["series"].values() for n in row} <= {int, float}


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=100),
            ANY_JSON.map(lambda value: sign("question", packed(value))),
            st.sampled_from(QUESTIONS).map(Question.pack),
        ),
        max_size=20,
    )
)
def test_a_desk_counts_whatever_comes_and_lives(messages: list[bytes]) -> None:
    desk = Desk(Registry(), now=lambda: 0.0, clock=lambda: NOW)
    line = Nowhere()
    for data in messages:
        desk.on_message(data, line)
    counts = desk.totals()
    elsewhere = sum(data.endswith(QUESTIONS[2].pack()[SIGNATURE:]) for data in messages)
    assert sum(counts.values()) == len(messages) - elsewhere
    assert counts["answered"] <= BURST
    assert len(desk._heard) <= len(QUESTIONS)
