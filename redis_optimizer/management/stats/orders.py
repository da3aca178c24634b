"""What processes did when they were told to, as a person reads it."""

from collections.abc import Mapping
from typing import Any, Final

from redis.exceptions import RedisError

from redis_optimizer.management.stats.columns import number
from redis_optimizer.stats.gathered import Gathered

__all__ = ["UNASKED", "as_json", "as_process", "find_process", "words_of"]

UNASKED: Final = (LookupError, RedisError, OSError)
"""What says that nobody could be asked."""


def as_process(facts: Mapping[str, Any]) -> str:
    """Return which process it is."""
    return f"{facts['kind']} {facts['command']}, pid {facts['pid']} on {facts['host']}"


def as_json(gathered: Gathered, *done: str) -> dict[str, Any]:
    """Return what each process did, and who did not answer, as JSON can hold it.

    Args:
        gathered: What came of an order.
        done: Names of the numbers that each process told.
    """
    whole = gathered.as_dict()
    processes = [
        {
            "process": dict(each.facts),
            **{name: number(each.totals, "done", name) for name in done},
        }
        for each in gathered.processes
    ]
    rest = ("silent", "missing", "unreachable", "commands")
    return {"processes": processes, **{name: whole[name] for name in rest}}


def words_of(error: BaseException) -> str:
    """Return why nobody could be asked."""
    return str(error) if isinstance(error, LookupError) else f"Redis cannot be asked: {error}"


def find_process(gathered: Gathered, named: str) -> str:
    """Return the id of the process that an operator names.

    Args:
        gathered: All processes.
        named: An id, or the beginning of one that no other has; or a pid.

    Raises:
        LookupError: there is none, or more than one; the message lists them.
    """
    facts = [process.facts for process in gathered.processes]
    found = [each for each in facts if str(each["pid"]) == named]
    found = found or [each for each in facts if len(named) >= 4 and each["id"].startswith(named)]
    if len(found) == 1:
        return str(found[0]["id"])
    listed = "\n".join(f"  {each['id']}  {as_process(each)}" for each in found or facts)
    if found:
        raise LookupError(f"More than one process is {named!r}; give the id:\n{listed}")
    raise LookupError(
        f"No process that has a channel is {named!r}. There are:\n{listed or '  none'}"
    )
