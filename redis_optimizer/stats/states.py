"""The states of all parts as Redis keeps them, under one signed key for each server."""

import time
from collections.abc import Mapping
from typing import Any, Final

from redis.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError

from redis_optimizer.channel import CONTROL
from redis_optimizer.conf import get_settings
from redis_optimizer.connections import channel_connection
from redis_optimizer.stats.plain import dump, load, tidy_text
from redis_optimizer.stats.signing import SIGNATURE, sign, unsign
from redis_optimizer.switches import State

__all__ = [
    "STORING",
    "fetch",
    "new_state",
    "pack_parts",
    "pack_state",
    "pack_states",
    "read_parts",
    "read_state",
    "read_states",
    "states_key",
    "store",
]

VERSION: Final = 1

MAX_BYTES: Final = 16 * 1024
"""Bytes that the key may hold."""

MAX_BY: Final = 100  # characters
MAX_AT: Final = 2**35  # seconds since the epoch

STEP: Final = 0.001
"""Seconds by which a state is later than the one before, whatever the clocks say."""

TIMEOUT: Final = 1.0
"""Seconds for which a server is awaited that hangs."""

ATTEMPTS: Final = 20
"""How often it is tried while others write the key, too."""

STORING: Final = 5
"""Commands that `store` takes where nobody else writes the key, beside logging in."""

PARTS_KEPT: Final = 50  # those of later versions among them


def states_key(namespace: str) -> str:
    """Return the key under which a server keeps the states of a site, in its database 0."""
    return f"{CONTROL}:{namespace}:switches"


def pack_state(state: State) -> dict[str, Any]:
    """Return a state as JSON can hold it; a name that is too long or not printable is tidied."""
    return {"on": state.on, "at": state.at, "by": tidy_text(state.by, MAX_BY)}


def read_state(packed: object) -> State:
    """Return a state that somebody else packed.

    Raises:
        ValueError: it is something else.
    """
    match packed:
        case {"on": bool(on), "at": (float() | int()) as at, "by": str(by), **rest} if (
            not rest and 0 < at <= MAX_AT and tidy_text(by, MAX_BY) == by
        ):
            return State(on, float(at), by)
    raise ValueError("It is no state.")


def pack_parts(states: Mapping[str, State]) -> dict[str, Any]:
    """Return states as JSON can hold them: of those parts of which something was said."""
    return {part: pack_state(state) for part, state in states.items() if state.at}


def read_parts(packed: object) -> dict[str, State]:
    """Return states that somebody else packed.

    Raises:
        ValueError: they are something else.
    """
    if isinstance(packed, dict) and len(packed) <= PARTS_KEPT:
        return {str(part): read_state(state) for part, state in packed.items()}
    raise ValueError("They are no states.")


def pack_states(states: Mapping[str, State]) -> bytes:
    """Return states as they are kept, signed."""
    return sign("switches", dump({"v": VERSION, "parts": pack_parts(states)}))


def read_states(data: bytes) -> dict[str, State]:
    """Return the states that a key held.

    Raises:
        Forged: it is not from this site.
        ValueError: it is something else.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"It has more than {MAX_BYTES} bytes.")
    match load(unsign("switches", data), MAX_BYTES - SIGNATURE):
        case {"v": int(version), "parts": parts} if version == VERSION:
            return read_parts(parts)
    raise ValueError("It holds no states that are known here.")


def fetch(pool: ConnectionPool) -> dict[str, State]:
    """Return what a server keeps; nothing where that cannot be read as states.

    Raises:
        redis.exceptions.RedisError, OSError: when the server cannot be asked.
    """
    connection = channel_connection(pool, protocol=2, timeout=TIMEOUT, passing=True)
    try:
        return _understand(_ask(connection, "GET", _key()))
    finally:
        connection.disconnect()


def store(pool: ConnectionPool, part: str, state: State) -> State:
    """Have a server keep the state of a part, beside those of the others.

    Args:
        pool: Of the server.
        part: Which.
        state: Its state; it is made later than the one that is kept, if need be.

    Returns:
        The state as it is kept.

    Raises:
        redis.exceptions.RedisError, OSError: when it cannot be kept.
    """
    connection = channel_connection(pool, protocol=2, timeout=TIMEOUT, passing=True)
    try:
        for _ in range(ATTEMPTS):
            _ask(connection, "WATCH", _key())
            kept = _understand(_ask(connection, "GET", _key()))
            before = kept.get(part)
            if before is not None and before.at >= state.at:
                state = State(state.on, before.at + STEP, state.by)
            _ask(connection, "MULTI")
            _ask(connection, "SET", _key(), pack_states({**kept, part: state}))
            if _ask(connection, "EXEC") is not None:
                return state
    finally:
        connection.disconnect()
    raise RedisConnectionError(f"Others kept writing {_key()!r}.")


def new_state(on: bool, by: str, known: State) -> State:
    """Return a state that is later than the one that is known."""
    return State(on, max(time.time(), known.at + STEP), tidy_text(by, MAX_BY))


def _key() -> str:
    return states_key(get_settings().NAMESPACE)


def _ask(connection: AbstractConnection, *command: Any) -> Any:
    connection.send_command(*command)
    return connection.read_response()


def _understand(data: Any) -> dict[str, State]:
    try:
        return read_states(data) if isinstance(data, bytes) else {}
    except ValueError:  # what is no use to anybody is replaced
        return {}
