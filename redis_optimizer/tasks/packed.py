"""How the jobs of an envelope are written: what they have in common once.

A worker opens envelopes of thousands of jobs a second and looks closely at few of them: so a job is
made a `Message` when it is asked for, and travels on to a process of the pool as it came.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, overload

from redis_optimizer.conf import is_text
from redis_optimizer.tasks.headers import is_sound
from redis_optimizer.tasks.message import Message

__all__ = ["Jobs", "NewerVersion", "named", "pack", "unpack"]

VERSION: Final = 1

Part = dict[str, Any]

_FIELDS: Final = {
    "task": str,
    "content_type": str,
    "content_encoding": str,
    "exchange": str,
    "routing_key": str,
    "priority": int,
}
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


class NewerVersion(ValueError):
    """It is of a version of the format that a later release writes."""


class Jobs(Sequence[Message]):
    """Jobs as they are packed, each a `Message` once it is asked for.

    Args:
        packed: What `pack` made.

    Raises:
        NewerVersion: whoever is of a later release can read it.
        ValueError: it is something else; the text says what is wrong.
    """

    def __init__(self, packed: Any) -> None:
        version = packed.get("version") if isinstance(packed, Mapping) else None
        if type(version) is int and version > VERSION:
            raise NewerVersion(f"it is of version {version}")
        if version != VERSION:
            raise ValueError("it has no version that is known here")
        try:
            self._common = [(_names(same), list(_names(own))) for same, own in packed["common"]]
            (self._fields, own_fields), (self._headers, own), _ = self._common
            self._rows = list(packed["jobs"])
            self._made: dict[int, Message] = {}
            # Many jobs of one task are the rule: what they share is checked once.
            self._is_checked = self._fields.keys() == _FIELDS.keys() and not own_fields
            if self._is_checked:
                _check(self._fields)
            self.unsound = _unsound(self._headers, self._rows)
            for index, row in enumerate(self._rows):
                if not (self._is_checked and "id" in own and _is_usual(*row)):
                    self[index]  # it tells what is wrong
        except (AttributeError, LookupError, RecursionError, TypeError) as error:
            raise ValueError(f"it is not made as an envelope is: {error!r}") from error
        if not self._rows:
            raise ValueError("it is empty")

    unsound: dict[int, str]
    """The jobs, by place, that a worker must not begin: Celery would fail in its main process. The
    name of the header that is at fault."""

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Message: ...

    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...

    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        made = self._made.get(index)
        if made is None:
            made = self._made[index] = self._make(*self._rows[index])
        return made

    def id(self, index: int) -> str:
        """Return the id of a job."""
        identity: str = self._rows[index][0]
        return identity

    def field(self, index: int, name: str) -> Any:
        """Return an attribute of a job's message: its task, content type, routing key and such."""
        own = self._rows[index][2]
        return own[name] if name in own else self._fields[name]

    def header(self, index: int, name: str) -> Any:
        """Return a header of a job, None where it has none; not one that is its id."""
        own = self._rows[index][3]
        return own[name] if name in own else self._headers.get(name)

    def body(self, index: int) -> str | bytes:
        """Return the body of a job."""
        return _read_body(self._rows[index][1])

    def pick(self, indexes: Iterable[int]) -> Part:
        """Return some of the jobs, packed."""
        rows = [self._rows[index] for index in indexes]
        return {"version": VERSION, "common": self._common, "jobs": rows}

    def _make(self, identity: Any, body: Any, *rests: Any) -> Message:
        fields, headers, properties = (
            {**same, **dict.fromkeys(own, identity), **rest}
            for (same, own), rest in zip(self._common, rests, strict=True)
        )
        if not _is_text(identity) or headers.get("id") != identity:
            raise ValueError(
                f"the id of a job is {identity!r}, in its headers {headers.get('id')!r}"
            )
        if rests[0] or not self._is_checked:
            _check(fields)
        return Message(
            id=identity, body=_read_body(body), headers=headers, properties=properties, **fields
        )


def pack(messages: Sequence[Message]) -> Part:
    """Return jobs as what JSON can hold, the common parts once."""
    ids = [message.id for message in messages]
    fields = [{name: getattr(message, name) for name in _FIELDS} for message in messages]
    sections = [
        _factor(ids, section)
        for section in (
            fields,
            [message.headers for message in messages],
            [message.properties for message in messages],
        )
    ]
    return {
        "version": VERSION,
        "common": [[common, own] for common, own, _ in sections],
        "jobs": [
            [message.id, _write_body(message.body), *rests]
            for message, *rests in zip(messages, *(rests for _, _, rests in sections), strict=True)
        ],
    }


def unpack(packed: Any) -> list[Message]:
    """Return the jobs that `pack` was given.

    Raises:
        ValueError: for anything else; the text says what is wrong.
    """
    return list(Jobs(packed))


def named(packed: Any) -> dict[str, str]:
    """Return what can be told of the jobs in what is no envelope, or a broken one.

    Returns:
        The name of the task of each job, by the job's id; "" where it cannot be told.
    """
    try:
        same, rows = packed["common"][0][0], packed["jobs"]
        ids = [row[0] for row in rows if isinstance(row, list) and row and _is_text(row[0])]
        task = same.get("task", "")
    except (AttributeError, LookupError, TypeError):
        return {}
    return dict.fromkeys(ids, task if _is_text(task) else "")


def _names(names: Any) -> Any:
    """Return a dict or a list whose names are texts."""
    if type(names) not in (dict, list) or not all(type(name) is str for name in names):
        raise TypeError(f"{type(names).__name__} of other things than names")
    return names


def _is_text(value: Any) -> bool:
    """Tell whether a value is a text that can be sent."""
    # As a rule it is ASCII, which the text itself knows.
    return type(value) is str and (value.isascii() or is_text(value))


def _is_usual(
    identity: Any, body: Any, fields: Any = None, headers: Any = None, properties: Any = None
) -> bool:
    """Tell whether a job differs from the others in nothing that must be looked at."""
    return (
        _is_text(identity)
        and _is_text(body)
        and type(headers) is type(properties) is dict
        and fields == {}
        and "id" not in headers
    )


def _unsound(common: Part, rows: Sequence[Any]) -> dict[int, str]:
    faults = {name for name in common if not is_sound(name, common[name])}
    found: dict[int, str] = {}
    for index, (_, _, _, own, *_) in enumerate(rows):
        for name in (*own, *faults):
            if not is_sound(name, own.get(name, common.get(name))):
                found[index] = name
    return found


def _check(fields: Part) -> None:
    for name, kind in _FIELDS.items():
        if type(fields[name]) is not kind or (kind is str and not _is_text(fields[name])):
            raise ValueError(f"the {name} of a job is {fields[name]!r}")


def _factor(ids: Sequence[str], parts: Sequence[Part]) -> tuple[Part, list[str], list[Part]]:
    """Return what all parts have in common, what is each job's id, and what else each has."""
    common: Part = {}
    own: list[str] = []
    for name, value in parts[0].items():
        if all(part.get(name) == identity for part, identity in zip(parts, ids, strict=True)):
            own.append(name)
        elif all(_is_same(part, name, value) for part in parts):
            common[name] = value
    left = parts[0].keys() | set().union(*parts[1:])
    left -= common.keys() | set(own)
    return common, own, [_pick(part, left) for part in parts]


def _is_same(part: Part, name: str, value: Any) -> bool:
    other = part.get(name, part)  # the part itself: there is no such name
    if type(other) is not type(value) or other != value:
        return False
    # 1, 1.0 and True are equal, and so are lists of them, but JSON tells them apart.
    return type(value) in _SCALARS or repr(other) == repr(value)


def _pick(part: Part, names: Iterable[str]) -> Part:
    return {name: part[name] for name in names if name in part}


def _write_body(body: str | bytes) -> Any:
    if isinstance(body, str):
        return body
    return {"base64": base64.b64encode(body).decode()}


def _read_body(body: Any) -> str | bytes:
    if _is_text(body):
        return body  # type: ignore[no-any-return]
    try:
        return base64.b64decode(body["base64"], validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError(f"the body of a job is unreadable: {error!r}") from error
