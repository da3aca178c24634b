"""One look at the site: its processes, its servers, and what is switched off."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from redis_optimizer.admin.broker import ask_broker
from redis_optimizer.admin.servers import Server, ask_servers
from redis_optimizer.conf import get_settings
from redis_optimizer.stats.gather import gather
from redis_optimizer.stats.gathered import Gathered
from redis_optimizer.stats.orders import cost_of_reading, read_states
from redis_optimizer.switches import State, states

__all__ = ["Look", "look"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What was seen.

    Args:
        gathered: What the processes answered; nothing where nobody could be asked.
        servers: What the servers say of themselves: those of caches, and that of the broker.
        states: Of each part, as processes last heard; where none tells, as Redis keeps it.
        problems: What could not be seen, and what to do about it.
        commands: What the look cost, in commands.
    """

    gathered: Gathered = field(default_factory=Gathered)
    servers: list[Server] = field(default_factory=list)
    states: Mapping[str, State] = field(default_factory=states)
    problems: list[str] = field(default_factory=list)
    commands: int = 0


def look() -> Look:
    """Look at everything, and take no longer than what hangs is given."""
    problems = []
    if not get_settings().ENABLED:
        problems.append(
            _(
                "Redis optimizer is switched off by REDIS_OPTIMIZER['ENABLED'] or by "
                "REDIS_OPTIMIZER_ENABLED=0 in the environment. To count and save commands, take "
                "that away."
            )
        )
    try:
        gathered = gather(history=True)
    except LookupError:
        problems.append(
            _(
                "No cache of this site has a channel, so its processes cannot be asked. Give a "
                "cache in CACHES the BACKEND 'redis_optimizer.cache.TieredCache', and leave its "
                "COHERENCE at 'tracking'."
            )
        )
        return Look(problems=problems)
    except (RedisError, OSError) as error:
        problems.append(
            _(
                "Redis does not answer (%(error)s). See that the server which LOCATION in CACHES "
                "names is running and can be reached from here."
            )
            % {"error": _told(error)}
        )
        return Look(problems=problems)
    problems += [
        _("A server could not be asked: %(error)s. What its processes counted is missing here.")
        % {"error": error}
        for error in gathered.unreachable
    ]
    if not gathered.processes and not gathered.missing:
        problems.append(
            _(
                "No process has a channel yet. A web process opens its own after the first reads "
                "of a cache (OPTIONS['L1']['START_AFTER'] says how many), a worker when it is "
                "ready. Use the site a little, and look again."
            )
        )
    servers = ask_servers(are_heard=not gathered.unreachable)
    commands = gathered.commands + sum(server.cost for server in servers)
    broker, cost = ask_broker(servers)
    if broker is not None:
        servers.append(broker)
    known: Mapping[str, State] | None = gathered.states()
    if known is None:
        known, more = _read_states()
        cost += more
    return Look(gathered, servers, known, problems, commands + cost)


def _read_states() -> tuple[Mapping[str, State], int]:
    """Return what Redis keeps, and what it took to read that."""
    try:
        return read_states(), cost_of_reading()
    except (LookupError, RedisError, OSError) as error:
        logger.debug("What is switched off could not be read: %r", error)
        return states(), 0


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
