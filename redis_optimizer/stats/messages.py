"""What processes say to each other on the control channel: signed JSON, checked all the same.

A question names no channel to answer on, only an id; an answer may hold nothing but bounded plain
data. A question that is older than MAX_AGE does nothing, so nobody can keep one for later.
"""

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from redis_optimizer.channel import CONTROL
from redis_optimizer.stats.plain import check_history, check_plain, dump, load, tidy
from redis_optimizer.stats.signing import SIGNATURE, sign, unsign
from redis_optimizer.stats.states import pack_parts, pack_state, read_parts, read_state
from redis_optimizer.switches import State

__all__ = [
    "MAX_ANSWER",
    "MAX_QUESTION",
    "Answer",
    "Asks",
    "Late",
    "Question",
    "control_channel",
    "new_id",
    "pack_answer",
    "read_answer",
    "read_question",
    "reply_channel",
]

VERSION: Final = 2

MAX_QUESTION: Final = 2048
"""Bytes that a question may have, with its signature."""

MAX_ANSWER: Final = 256 * 1024
"""Bytes that an answer may have, with its signature."""

MAX_AGE: Final = 300.0
"""Seconds that the clocks of two machines may differ, and that a question may be under way."""

Asks = Literal["stats", "clear", "flush", "switch"]

MAX_PART: Final = 30  # characters; a part may be of a later version, and is then left alone

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


class Late(ValueError):
    """It was sent at another time, as this machine's clock has it."""


def new_id() -> str:
    """Return an id for a question."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Question:
    """What all processes with a channel are asked.

    Args:
        asks: "stats" to tell what was counted; "clear" to let go of what is kept in process;
            "flush" to send the jobs that are held; "switch" to switch a part on or off.
        history: The last hour is wanted, too.
        only: The id of the one process that is asked; None for all.
        switch: With "switch": the part, and the state that it is to have.
        at: When it is asked, in seconds since the epoch.
        id: Of the question; the answers go to a channel that is named after it.
    """

    asks: Asks = "stats"
    history: bool = False
    only: str | None = None
    switch: tuple[str, State] | None = None
    at: float = field(default_factory=time.time)
    id: str = field(default_factory=new_id)

    def pack(self) -> bytes:
        """Return it as it is sent.

        Raises:
            ImproperlyConfigured: the site has no SECRET_KEY.
        """
        part, state = self.switch or (None, None)
        message = {
            "v": VERSION,
            "ask": self.asks,
            "history": self.history,
            "only": self.only,
            "switch": state and {"part": part, **pack_state(state)},
            "at": self.at,
            "id": self.id,
        }
        return sign("question", dump(message))


@dataclass(frozen=True, slots=True)
class Answer:
    """What one process answers.

    Args:
        process: See `redis_optimizer.stats.process.facts`.
        totals: What it counted, by source.
        history: The last hour, if that was asked for and has room.
        dropped: Parts that were left out: the answer had no room for them, or they have a form
            that nobody would accept.
        states: Of the parts, as the process last heard; None from a version that does not tell.
    """

    process: Mapping[str, Any]
    totals: Mapping[str, Any]
    history: Mapping[str, Any] | None = None
    dropped: tuple[str, ...] = ()
    states: Mapping[str, State] | None = None


def control_channel(namespace: str) -> str:
    """Return the Pub/Sub channel that all processes of a site listen to."""
    return f"{CONTROL}:{namespace}"


def reply_channel(namespace: str, id: str) -> str:
    """Return the Pub/Sub channel on which a question is answered: its asker alone listens."""
    return f"{CONTROL}:{namespace}:{id}"


def read_question(data: bytes, now: float) -> Question:
    """Return the question that somebody published.

    Args:
        data: What was published.
        now: Seconds since the epoch.

    Raises:
        Forged: it is not from this site.
        Late: it is too old, or of a clock that is ahead.
        ValueError: it is something else.
    """
    if len(data) > MAX_QUESTION:
        raise ValueError(f"It has more than {MAX_QUESTION} bytes.")
    match load(unsign("question", data), MAX_QUESTION):
        case {
            "v": int(version),
            "ask": "stats" | "clear" | "flush" | "switch" as asks,
            "history": bool(history),
            "only": (str() | None) as only,
            "switch": (dict() | None) as switch,
            "at": (float() | int()) as at,
            "id": str(id),
            **rest,
        } if version == VERSION and not rest and _is_id(id) and (only is None or _is_id(only)):
            if not now - MAX_AGE <= at <= now + MAX_AGE:
                ago = now - max(min(at, 2 * now), 0)  # a difference may be too large for a float
                raise Late(
                    f"By this machine's clock it was sent {ago:.0f} s ago; the clocks of the "
                    f"machines of a site may differ by {MAX_AGE:.0f} s."
                )
            if (asks == "switch") == (switch is not None):
                return Question(asks, history, only, _read_switch(switch), at, id)
    raise ValueError("It is no question that is known here.")


def pack_answer(question: Question, answer: Answer) -> bytes:
    """Return an answer as it is sent.

    What is largest is left out where there is no room. What would have the whole refused is cut or
    left out: the name of a view may be of any length.
    """
    dropped = list(answer.dropped)
    totals, history = tidy(answer.totals), tidy(answer.history)
    for name in [name for name, part in totals.items() if not isinstance(part, dict)]:
        dropped.append(name)
        del totals[name]
    if history is not None:
        try:
            check_history(history)
        except ValueError:
            dropped.append("history")
            history = None
    process = tidy(answer.process)
    states = None if answer.states is None else pack_parts(answer.states)
    while True:
        message: dict[str, Any] = {
            "v": VERSION,
            "id": question.id,
            "process": process,
            "totals": totals,
            "history": history,
            "dropped": dropped,
            "states": states,
        }
        data = dump(message)
        if len(data) <= MAX_ANSWER - SIGNATURE or not (totals or history):
            return sign("answer", data)
        if history:
            dropped.append("history")
            history = None
        else:
            largest = max(totals, key=lambda name: len(dump(totals[name])))
            dropped.append(largest)
            del totals[largest]


def read_answer(data: bytes, question: Question) -> Answer:
    """Return the answer that somebody published.

    Raises:
        ValueError: it is something else, the answer to something else, or not from this site.
    """
    if len(data) > MAX_ANSWER:
        raise ValueError(f"It has more than {MAX_ANSWER} bytes.")
    match load(unsign("answer", data), MAX_ANSWER):
        case {
            "v": int(version),
            "id": str(id),
            "process": dict(process),
            "totals": dict(totals),
            "history": dict() | None as history,
            "dropped": list(dropped),
            **rest,
        } if version == VERSION and id == question.id:
            _check_facts(process)
            check_plain(process)
            check_plain(totals)
            check_plain(dropped)
            if not all(isinstance(part, dict) for part in totals.values()):
                raise ValueError("The totals have no form that is known here.")
            if history is not None:
                check_history(history)
            states = rest.get("states")
            known = None if states is None else read_parts(states)
            return Answer(process, totals, history, tuple(map(str, dropped)), known)
    raise ValueError("It is no answer that is known here.")


def _check_facts(process: Mapping[str, Any]) -> None:
    for name, kind in _FACTS.items():
        value = process.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"The process's {name} is of another type.")
    if not _is_id(process["id"]):
        raise ValueError("The process's id is none.")


def _is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def _read_switch(switch: Mapping[str, Any] | None) -> tuple[str, State] | None:
    if switch is None:
        return None
    part = switch.get("part")
    if not isinstance(part, str) or not part.isidentifier() or len(part) > MAX_PART:
        raise ValueError("It names no part.")
    return part, read_state({name: said for name, said in switch.items() if name != "part"})
