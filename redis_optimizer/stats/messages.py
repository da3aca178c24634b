"""What processes say to each other on the control channel: JSON, checked before it is believed.

Anybody who may publish on the server can write such a message. So a question names no channel to
answer on, only an id; an answer may hold nothing but bounded plain data.
"""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from redis_optimizer.channel import CONTROL

__all__ = [
    "MAX_ANSWER",
    "MAX_QUESTION",
    "Answer",
    "Question",
    "control_channel",
    "new_id",
    "pack_answer",
    "read_answer",
    "read_question",
    "reply_channel",
]

VERSION: Final = 1

MAX_QUESTION: Final = 512
"""Bytes that a question may have."""

MAX_ANSWER: Final = 256 * 1024
"""Bytes that an answer may have."""

MAX_TEXT: Final = 300  # characters of one string
MAX_DEPTH: Final = 6
MAX_NUMBER: Final = 2**63
MAX_STEPS: Final = 1_000  # of a history

Asks = Literal["stats", "clear"]

_ID: Final = re.compile(r"[0-9a-f]{32}")
_FACTS: Final[dict[str, type | tuple[type, ...]]] = {
    "id": str,
    "pid": int,
    "kind": str,
    "host": str,
    "started": (int, float),
    "command": str,
    "version": str,
    "python": str,
}


def new_id() -> str:
    """Return an id for a question."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Question:
    """What all processes with a channel are asked.

    Args:
        asks: "stats" to tell what was counted; "clear" to let go of what is kept in process.
        history: The last hour is wanted, too.
        id: Of the question; the answers go to a channel that is named after it.
    """

    asks: Asks = "stats"
    history: bool = False
    id: str = field(default_factory=new_id)

    def pack(self) -> bytes:
        """Return it as it is sent."""
        return _dump({"v": VERSION, "ask": self.asks, "history": self.history, "id": self.id})


@dataclass(frozen=True, slots=True)
class Answer:
    """What one process answers.

    Args:
        process: See `redis_optimizer.stats.process.facts`.
        totals: What it counted, by source.
        history: The last hour, if that was asked for and has room.
        dropped: Parts that were left out: the answer had no room for them, or they have a form
            that nobody would accept.
    """

    process: Mapping[str, Any]
    totals: Mapping[str, Any]
    history: Mapping[str, Any] | None = None
    dropped: tuple[str, ...] = ()


def control_channel(namespace: str) -> str:
    """Return the Pub/Sub channel that all processes of a site listen to."""
    return f"{CONTROL}:{namespace}"


def reply_channel(namespace: str, id: str) -> str:
    """Return the Pub/Sub channel on which a question is answered: its asker alone listens."""
    return f"{CONTROL}:{namespace}:{id}"


def read_question(data: bytes) -> Question:
    """Return the question that somebody published.

    Raises:
        ValueError: it is something else.
    """
    match _load(data, MAX_QUESTION):
        case {
            "v": int(version),
            "ask": "stats" | "clear" as asks,
            "history": bool(history),
            "id": str(id),
            **rest,
        } if version == VERSION and not rest and _ID.fullmatch(id):
            return Question(asks, history, id)
    raise ValueError("It is no question that is known here.")


def pack_answer(question: Question, answer: Answer) -> bytes:
    """Return an answer as it is sent.

    What is largest is left out where there is no room. What would have the whole refused is cut or
    left out: the name of a view may be of any length.
    """
    dropped = list(answer.dropped)
    totals, history = _tidy(answer.totals), _tidy(answer.history)
    for name in [name for name, part in totals.items() if not isinstance(part, dict)]:
        dropped.append(name)
        del totals[name]
    if history is not None:
        try:
            _check_history(history)
        except ValueError:
            dropped.append("history")
            history = None
    process = _tidy(answer.process)
    while True:
        message: dict[str, Any] = {
            "v": VERSION,
            "id": question.id,
            "process": process,
            "totals": totals,
            "history": history,
            "dropped": dropped,
        }
        data = _dump(message)
        if len(data) <= MAX_ANSWER or not (totals or history):
            return data
        if history:
            dropped.append("history")
            history = None
        else:
            largest = max(totals, key=lambda name: len(_dump(totals[name])))
            dropped.append(largest)
            del totals[largest]


def read_answer(data: bytes, question: Question) -> Answer:
    """Return the answer that somebody published.

    Raises:
        ValueError: it is something else, or the answer to something else.
    """
    match _load(data, MAX_ANSWER):
        case {
            "v": int(version),
            "id": str(id),
            "process": dict(process),
            "totals": dict(totals),
            "history": dict() | None as history,
            "dropped": list(dropped),
        } if version == VERSION and id == question.id:
            _check_facts(process)
            _check_plain(process)
            _check_plain(totals)
            _check_plain(dropped)
            if not all(isinstance(part, dict) for part in totals.values()):
                raise ValueError("The totals have no form that is known here.")
            if history is not None:
                _check_history(history)
            return Answer(process, totals, history, tuple(map(str, dropped)))
    raise ValueError("It is no answer that is known here.")


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _load(data: bytes, max_bytes: int) -> Any:
    if len(data) > max_bytes:
        raise ValueError(f"It has more than {max_bytes} bytes.")
    try:
        return json.loads(data, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("It is nested too deep.") from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number.")


def _check_facts(process: Mapping[str, Any]) -> None:
    for name, kind in _FACTS.items():
        value = process.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"The process's {name} is of another type.")
    if not _ID.fullmatch(process["id"]):
        raise ValueError("The process's id is none.")


def _check_plain(value: Any, depth: int = 0) -> None:
    """Accept what can be shown on a terminal and added up."""
    if depth > MAX_DEPTH:
        raise ValueError("It is nested too deep.")
    if isinstance(value, str):
        if len(value) > MAX_TEXT or not value.isprintable():
            raise ValueError("It holds a text that is too long or not printable.")
    elif isinstance(value, int | float):
        if not abs(value) <= MAX_NUMBER:  # nor is NaN
            raise ValueError("It holds a number that is too large.")
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_plain(name, depth + 1)
            _check_plain(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_plain(inner, depth + 1)


def _tidy(value: Any, depth: int = 0) -> Any:
    """Return what `_check_plain` accepts of it."""
    if isinstance(value, Mapping | list | tuple) and depth >= MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {_cut(name): _tidy(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_tidy(inner, depth + 1) for inner in value]
    if isinstance(value, int | float):
        return value if abs(value) <= MAX_NUMBER else None
    return value if value is None else _cut(value if isinstance(value, str) else str(value))


def _cut(text: Any) -> Any:
    """Return a text that is short and printable; of a name that is no text, the name."""
    if not isinstance(text, str) or (len(text) <= MAX_TEXT and text.isprintable()):
        return text
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[: MAX_TEXT + 1])
    return shown if len(shown) <= MAX_TEXT else f"{shown[: MAX_TEXT - 1]}…"


def _check_history(history: Mapping[str, Any]) -> None:
    match history:
        case {"step": float(step) | int(step), "begins": float() | int(), "series": dict(series)}:
            _check_plain(history)
            rows = [row for row in series.values() if isinstance(row, list)]
            are_numbers = all(
                isinstance(n, int | float) and not isinstance(n, bool) for row in rows for n in row
            )
            lengths = {len(row) for row in rows}
            if (
                step >= 1
                and len(rows) == len(series)
                and are_numbers
                and len(lengths) <= 1
                and max(lengths, default=0) <= MAX_STEPS
            ):
                return
    raise ValueError("The history has no form that is known here.")
