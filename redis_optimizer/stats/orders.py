"""Tell every process of the site to do something, and report what each did."""

from collections.abc import Mapping
from dataclasses import replace

from redis.connection import ConnectionPool
from redis.exceptions import RedisError

from redis_optimizer import switches
from redis_optimizer.connections import logs_in
from redis_optimizer.stats import states
from redis_optimizer.stats.gather import NO_SERVER, TIMEOUT, ask
from redis_optimizer.stats.gathered import Gathered
from redis_optimizer.stats.messages import Question
from redis_optimizer.stats.servers import pools
from redis_optimizer.switches import PARTS, State

__all__ = ["clear", "cost_of_reading", "flush", "read_states", "switch", "unconfirmed"]


def switch(part: str, on: bool, *, by: str = "", timeout: float = TIMEOUT) -> Gathered:
    """Switch a part on or off: in Redis for processes to come, then in every process.

    It costs what `gather` does and five commands more, for each server that the site's caches are
    on. The later of two switches counts, whichever arrives first.

    Args:
        part: See `redis_optimizer.switches.PARTS`.
        on: Whether it is to be on.
        by: Who says so; shown to operators. What is too long or not printable in it is tidied.
        timeout: Seconds to wait for processes that do not answer.

    Returns:
        Who confirmed, in ``totals["done"]`` of each: ``{"part": ..., "on": ...}``; and in
        ``unkept`` why a server does not keep it for processes to come.

    Raises:
        ValueError: there is no such part.
        redis.exceptions.RedisError, OSError: when no server could be told.
        LookupError: when no cache of this site keeps a channel.
    """
    if part not in PARTS:
        raise ValueError(f"There is no part {part!r}. The parts are: {', '.join(PARTS)}.")
    servers = _servers()
    state = states.new_state(on, by, switches.states()[part])
    commands, unkept = 0, []
    for pool in servers:
        try:
            state = states.store(pool, part, state)
            commands += states.STORING + logs_in(pool)
        except (RedisError, OSError) as error:
            unkept.append(f"{type(error).__name__}: {error}")
    gathered = ask(Question("switch", switch=(part, state)), timeout, through=servers)
    switches.learn({part: state})  # this process may have no channel
    return replace(gathered, unkept=unkept, commands=gathered.commands + commands)


def unconfirmed(gathered: Gathered, part: str, on: bool) -> list[Mapping[str, object]]:
    """Return the facts of processes that answered a switch and did not do it.

    They run a version that does not know the part, or were told otherwise meanwhile.
    """
    return [
        process.facts
        for process in gathered.processes
        if process.totals.get("done") != {"part": part, "on": on}
    ]


def read_states() -> dict[str, State]:
    """Return the state of every part as it is kept in Redis; the latest where servers differ.

    It costs a command for each server, and one more where it asks for a password.

    Raises:
        redis.exceptions.RedisError, OSError: when no server could be asked.
        LookupError: when no cache of this site keeps a channel.
    """
    found: list[Mapping[str, State]] = []
    errors: list[Exception] = []
    servers = _servers()
    for pool in servers:
        try:
            found.append(states.fetch(pool))
        except (RedisError, OSError) as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return switches.latest(found)


def cost_of_reading() -> int:
    """Return how many commands `read_states` takes."""
    return sum(1 + logs_in(pool) for pool in pools())


def clear(*, only: str | None = None, timeout: float = TIMEOUT) -> Gathered:
    """Let every process let go of what it keeps of caches; Redis is left alone.

    Args:
        only: The id of the one process that is to do it, see `redis_optimizer.stats.process.facts`.
        timeout: Seconds to wait for processes that do not answer.

    Returns:
        Who did it, in ``totals["done"]`` of each: the number of ``entries``.

    Raises:
        redis.exceptions.RedisError, OSError: when no server could be asked.
        LookupError: when no cache of this site keeps a channel.
    """
    return ask(Question("clear", only=only), timeout)


def flush(*, only: str | None = None, timeout: float = TIMEOUT) -> Gathered:
    """Let every process send the jobs that it holds.

    Args:
        only: The id of the one process that is to do it.
        timeout: Seconds to wait for processes that do not answer.

    Returns:
        Who did it, in ``totals["done"]`` of each: ``jobs`` that left, and those ``left`` there.
        Not in that of a process that sends no jobs.

    Raises:
        redis.exceptions.RedisError, OSError: when no server could be asked.
        LookupError: when no cache of this site keeps a channel.
    """
    return ask(Question("flush", only=only), timeout)


def _servers() -> list[ConnectionPool]:
    servers = pools()
    if not servers:
        raise LookupError(NO_SERVER)
    return servers
