"""The envelope: one Celery message that carries many jobs.

What the jobs have in common is written once. Envelopes travel in a queue of their own beside that
of their jobs, which only workers with redis_optimizer consume: any other would throw them away.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from celery import Celery
from kombu.serialization import dumps, loads
from kombu.utils.uuid import uuid

from redis_optimizer.tasks.message import Message

__all__ = [
    "NAME",
    "SUFFIX",
    "batch_queue",
    "envelope_message",
    "pack",
    "plain_queue",
    "read",
    "unpack",
]

NAME: Final = "redis_optimizer.batch"
"""Name of the task that an envelope is a message of."""

SUFFIX: Final = ".batches"
VERSION: Final = 1
CONTENT_TYPE: Final = "application/json"

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


def batch_queue(queue: str) -> str:
    """Return the queue in which envelopes for a queue travel."""
    return queue + SUFFIX


def plain_queue(queue: str) -> str | None:
    """Return the queue whose envelopes travel in `queue`; None when it is not one of those."""
    return queue.removesuffix(SUFFIX) if queue.endswith(SUFFIX) else None


def envelope_message(app: Celery, messages: Sequence[Message]) -> Message:
    """Make the message that carries others, which go to one queue at one priority.

    Args:
        app: Whose jobs they are.
        messages: One or more; the caller sees to it that they are not too many or too long.
    """
    first, identity = messages[0], uuid()
    made = app.amqp.as_task_v2(
        identity,
        NAME,
        args=(pack(messages),),
        argsrepr=f"({len(messages)} x {first.task})",  # the default would print all of them
        kwargsrepr="{}",
        ignore_result=True,
    )
    content_type, content_encoding, body = dumps(made.body, serializer="json")
    mode = first.properties.get("delivery_mode")
    return Message(
        id=identity,
        task=NAME,
        body=body,
        content_type=content_type,
        content_encoding=content_encoding,
        headers=made.headers,
        properties=made.properties | ({} if mode is None else {"delivery_mode": mode}),
        exchange="",
        routing_key=batch_queue(first.routing_key),
        priority=first.priority,
    )


def read(body: Any, content_type: Any, content_encoding: Any) -> list[Message]:
    """Return the jobs in the body of an envelope's message.

    Raises:
        ValueError: it is not an envelope; the text says why.
    """
    try:
        # Whatever a site accepts in jobs: this is JSON of our own.
        args, _, _ = loads(body, content_type, content_encoding, accept={CONTENT_TYPE})
        (packed,) = args
    except Exception as error:  # a decoder may raise anything for what is not its own
        raise ValueError(f"it cannot be decoded: {error!r}") from error
    return unpack(packed)


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
    if not isinstance(packed, Mapping) or packed.get("version") != VERSION:
        raise ValueError("it has no version that is known here")
    try:
        common = [(dict(same), list(own)) for same, own in packed["common"]]
        # Many jobs of one task are the rule: what they share is checked once.
        fields, _ = common[0]
        is_checked = fields.keys() == _FIELDS.keys()
        if is_checked:
            _check(fields)
        jobs = [_read_job(common, is_checked, *job) for job in packed["jobs"]]
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"it is not made as an envelope is: {error!r}") from error
    if not jobs:
        raise ValueError("it is empty")
    return jobs


def _read_job(
    common: Sequence[tuple[Part, list[str]]],
    is_checked: bool,
    identity: Any,
    body: Any,
    *rests: Any,
) -> Message:
    fields, headers, properties = (
        {**same, **dict.fromkeys(own, identity), **rest}
        for (same, own), rest in zip(common, rests, strict=True)
    )
    if not isinstance(identity, str) or headers.get("id") != identity:
        raise ValueError(f"the id of a job is {identity!r}, in its headers {headers.get('id')!r}")
    if rests[0] or not is_checked:
        _check(fields)
    return Message(
        id=identity, body=_read_body(body), headers=headers, properties=properties, **fields
    )


def _check(fields: Part) -> None:
    for name, kind in _FIELDS.items():
        if type(fields[name]) is not kind:
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
    if isinstance(body, str):
        return body
    try:
        return base64.b64decode(body["base64"], validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError(f"the body of a job is unreadable: {error!r}") from error
