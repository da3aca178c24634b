"""Gather the evidence: from the settings, the servers, the processes and the machine."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from django.utils.module_loading import import_string
from redis.exceptions import RedisError

from redis_optimizer.conf import cache_settings
from redis_optimizer.connections import logs_in
from redis_optimizer.doctor.evidence import Alias, Evidence, Server, explain
from redis_optimizer.doctor.machine import memory_limit
from redis_optimizer.doctor.places import Place, find_places, loaded_app
from redis_optimizer.doctor.visit import Visit
from redis_optimizer.stats.gather import gather
from redis_optimizer.stats.gathered import Gathered
from redis_optimizer.stats.orders import read_states
from redis_optimizer.stats.servers import pools
from redis_optimizer.switches import State

__all__ = ["SECONDS", "look"]

SECONDS: Final = 5.0
"""Seconds between the two looks at a server."""

Say = Callable[[str], None]


def look(
    seconds: float = SECONDS,
    *,
    say: Say = lambda words: None,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Evidence:
    """Look at the settings, at each server twice, and ask the processes what they counted.

    Nothing is written. What cannot be looked at is said in `Evidence.unknown`.

    Args:
        seconds: Between the two looks.
        say: Told what is going on, in a few words.
        sleep: Waits for a number of seconds.
        now: Clock in seconds; must be monotonic.
    """
    unknown: list[str] = []
    places = find_places(unknown)
    say(f"Looking at {_count(len(places), 'place')} that the settings name")
    visits = _visit(places, unknown, now)
    states, cost_of_states = _read_states(unknown)
    app = loaded_app()
    with _watching(app, unknown, now) as watch:
        stats_before, cost_before = _gather(unknown)
        for visit in visits:  # as late as this: what came before is not among what is measured
            visit.begin()
        began = now()
        if visits:
            say(f"Watching {_count(len(visits), 'server')} for {seconds:g} s")
            sleep(seconds)
        servers = tuple(_end(visits, unknown))
        elapsed = now() - began
        broker, kept = (watch.broker(), watch.kept()) if watch else (None, None)
    # Where nobody could be asked before, nothing has grown since: waiting once more is enough.
    stats, cost = _gather(unknown) if stats_before else (None, 0)
    return Evidence(
        aliases=tuple(_aliases(servers)),
        servers=servers,
        stats=stats,
        stats_before=stats_before,
        seconds=elapsed,
        app=app,
        broker=broker,
        kept=kept,
        memory=memory_limit(),
        states=states,
        unknown=tuple(dict.fromkeys(unknown)),
        looked_at=tuple(_looked_at(servers, stats)),
        commands=sum(visit.commands for visit in visits)
        + cost_of_states
        + cost_before
        + cost
        + (watch.commands if watch else 0),
    )


def _watching(
    app: Any, unknown: list[str], now: Callable[[], float]
) -> AbstractContextManager[Any]:
    """Watch the site's jobs; None where it has none."""
    if app is None:
        return nullcontext()
    from redis_optimizer.doctor.celery.watch import watching

    return watching(app, unknown, now)


def _visit(places: list[Place], unknown: list[str], now: Callable[[], float]) -> list[Visit]:
    """Connect to each server once, however many names and uses it has."""
    found: dict[str, Visit] = {}
    for place in places:
        try:
            visit = Visit(place, now)
        except (RedisError, OSError) as error:
            unknown.append(f"{place.use.name}: {explain(error)}")
            continue
        same = found.setdefault(visit.identity, visit)
        if same is not visit:
            same.join(visit)
    return list(found.values())


def _end(visits: list[Visit], unknown: list[str]) -> list[Server]:
    servers = []
    for visit in visits:
        try:
            servers.append(visit.end())
        except (RedisError, OSError) as error:
            unknown.append(f"{visit.address}: {explain(error)}")
        unknown.extend(visit.unknown)
    return servers


def _gather(unknown: list[str]) -> tuple[Gathered | None, int]:
    try:
        gathered = gather()
    except LookupError:
        return None, 0  # no tier: nobody to ask, which is no failure
    except (RedisError, OSError) as error:
        unknown.append(f"what processes counted: {explain(error)}")
        return None, 0
    unknown.extend(f"what processes counted: {error}" for error in gathered.unreachable)
    if gathered.missing:
        unknown.append(f"what {_count(gathered.missing, 'process')} counted: no answer in time")
    return gathered, gathered.commands


def _read_states(unknown: list[str]) -> tuple[Mapping[str, State], int]:
    try:
        states = read_states()
    except LookupError:
        return {}, 0  # nobody would hear of them
    except (RedisError, OSError) as error:
        unknown.append(f"which parts are switched off: {explain(error)}")
        return {}, 0
    return states, sum(1 + logs_in(pool) for pool in pools())


def _aliases(servers: tuple[Server, ...]) -> list[Alias]:
    of = {use.alias: server for server in servers for use in server.uses if use.kind == "cache"}
    return [
        Alias(name=name, settings=settings, backend=_backend(settings), server=of.get(name))
        for name, settings in cache_settings().items()
    ]


def _backend(settings: dict[str, Any]) -> type | None:
    try:
        backend = import_string(settings.get("BACKEND", ""))
    except ImportError:
        return None  # Django says so itself
    return backend if isinstance(backend, type) else None


def _looked_at(servers: tuple[Server, ...], stats: Gathered | None) -> list[str]:
    words = ["the settings"]
    for server in servers:
        uses = ", ".join(dict.fromkeys(use.name for use in server.uses))
        words.append(f"{server.address} ({uses})")
    if stats is not None:
        words.append(_count(len(stats.processes), "process"))
    return words


def _count(number: int, word: str) -> str:
    plural = f"{word}es" if word.endswith("s") else f"{word}s"
    return f"{number} {word if number == 1 else plural}"
