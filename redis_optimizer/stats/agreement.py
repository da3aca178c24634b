"""What this process knows of parts that are switched, and what Redis keeps: made to agree."""

import logging
from collections.abc import Mapping
from typing import Final

from redis_optimizer import switches
from redis_optimizer.conf import get_settings
from redis_optimizer.stats.states import pack_states, read_states, states_key
from redis_optimizer.subscriber import Line
from redis_optimizer.switches import NEVER, State

__all__ = ["agree", "learn", "restore"]

logger = logging.getLogger("redis_optimizer.stats")

ATTEMPTS: Final = 5
"""How often it is tried while others change what Redis keeps."""


def learn(heard: Mapping[str, State]) -> None:
    """Take note of what was said, and log which parts were switched by it."""
    for part in switches.learn(heard):
        state = heard[part]
        by = f" by {state.by}" if state.by else ""
        logger.warning("The part %r is switched %s%s.", part, "on" if state.on else "off", by)


def agree(line: Line) -> None:
    """Learn what Redis keeps, and let it keep what is known better here.

    A server that restarts from an old file, or a replica that takes over, may have missed an order.

    Args:
        line: Of a channel that is not up yet.

    Raises:
        redis.exceptions.RedisError, OSError: when the connection is lost, or the server refuses (a
            ResponseError).
        ImproperlyConfigured: the site has no SECRET_KEY.
        ValueError: Redis keeps something else.
    """
    key = states_key(get_settings().NAMESPACE)
    for _ in range(ATTEMPTS):
        data = line.read(key)
        if data is None:
            restore(line)
            return
        kept = read_states(data)
        learn(kept)
        known = switches.states().items()
        newer = {part: state for part, state in known if state.at > kept.get(part, NEVER).at}
        if not newer or line.replace(key, data, pack_states({**kept, **newer})):
            return


def restore(line: Line) -> None:
    """Let Redis keep which parts are off, if it keeps nothing.

    Raises:
        redis.exceptions.RedisError, OSError: when the connection is lost.
        ImproperlyConfigured: the site has no SECRET_KEY.
    """
    states = switches.states()
    if not all(state.on for state in states.values()):
        line.add(states_key(get_settings().NAMESPACE), pack_states(states))
