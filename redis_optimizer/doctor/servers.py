"""What costs or endangers something about the servers: memory, eviction, databases, persistence."""

from collections.abc import Iterator
from typing import Final

from redis_optimizer.doctor.evidence import Evidence, Server, Use, names_of
from redis_optimizer.doctor.findings import DAY, Examination, Found, Severity, examination

__all__ = ["EXAMINATIONS"]

NEARLY_FULL: Final = 0.9
"""Of maxmemory."""

MANY: Final = 10
"""Times a day; a few are somebody's who looked something up, or tidied."""


@examination(
    "jobs-in-cache-database",
    Severity.ERROR,
    "cache.clear() sends FLUSHDB, which deletes all that is in the database, whatever its prefix: "
    "jobs that wait, and those that workers have and have not finished.",
)
def jobs_in_cache_database(evidence: Evidence) -> Iterator[Found]:
    for server in evidence.servers:
        caches, jobs = server.used_for("cache"), server.used_for("broker", "results")
        for database in sorted({use.database for use in jobs}):
            at_risk = [use for use in jobs if use.database == database]
            same = [use for use in caches if use.database == database]
            if not same:
                continue
            has_broker = any(use.kind == "broker" for use in at_risk)
            yield Found(
                what=f"{names_of(at_risk)} {_are(at_risk)} in database {database} of "
                f"{server.address}, with {names_of(same)}.",
                change=f"Another database for jobs, such as redis://{server.address}/"
                f"{_free_database(server)}, or a server of their own. Let the workers finish what "
                "is queued first.",
                severity=None if has_broker else Severity.WARNING,
            )


@examination(
    "broker-evicts",
    Severity.ERROR,
    "When the memory is full the server deletes keys to make room, without a word: queues with all "
    "their jobs where it may choose any key; results and locks of jobs where it chooses among "
    "those that expire.",
)
def broker_evicts(evidence: Evidence) -> Iterator[Found]:
    for server in evidence.servers:
        jobs = server.used_for("broker", "results")
        if not jobs or not server.evicts:
            continue
        any_key = server.policy.startswith("allkeys")
        is_shared = bool(server.used_for("cache"))
        if not any_key and is_shared:
            continue  # the best there is for both on one server: queues stay, caches make room
        is_broker = any(use.kind == "broker" for use in jobs)
        yield Found(
            what=f"maxmemory-policy of {server.address} is {server.policy}, and {names_of(jobs)} "
            f"{_are(jobs)} there.",
            change="CONFIG SET maxmemory-policy "
            + (
                "volatile-lru, or a server of its own for the caches" if is_shared else "noeviction"
            ),
            severity=None if any_key and is_broker else Severity.WARNING,
        )


@examination(
    "cache-never-evicts",
    Severity.WARNING,
    "When the memory is full every write fails with an error, instead of making room by what was "
    "not used for long; jobs on the same server cannot be sent either.",
)
def cache_never_evicts(evidence: Evidence) -> Iterator[Found]:
    for server in evidence.servers:
        caches = server.used_for("cache")
        if caches and server.number("maxmemory") and server.policy == "noeviction":
            has_jobs = bool(server.used_for("broker", "results"))
            yield Found(
                what=f"maxmemory-policy of {server.address} is noeviction, and {names_of(caches)} "
                f"{_are(caches)} there.",
                change="CONFIG SET maxmemory-policy volatile-lru, or a server of its own for jobs"
                if has_jobs
                else "CONFIG SET maxmemory-policy allkeys-lru",
            )


@examination(
    "no-maxmemory",
    Severity.WARNING,
    "The server grows until the kernel ends it, or the machine swaps: with all its keys.",
)
def no_maxmemory(evidence: Evidence) -> Iterator[Found]:
    for server in evidence.servers:
        if server.number("maxmemory") == 0:
            total = server.number("total_system_memory")
            half = f"{max(total // 2 >> 20, 1)}mb" if total else "<size>"
            yield Found(
                what=f"maxmemory of {server.address} is 0: no limit.",
                change=f"CONFIG SET maxmemory {half}"
                + (" (half of the machine's memory; the rest is for forks)" if total else ""),
            )


@examination(
    "memory-full",
    Severity.ERROR,
    "With the policy noeviction every write fails once the memory is full: jobs cannot be sent, "
    "and nothing can be cached.",
)
def memory_full(evidence: Evidence) -> Iterator[Found]:
    for server in evidence.servers:
        used, limit = server.number("used_memory"), server.number("maxmemory")
        if used is None or not limit or server.evicts or used < NEARLY_FULL * limit:
            continue
        yield Found(
            what=f"{server.address} uses {100 * used / limit:.0f} % of its maxmemory, and evicts "
            "nothing.",
            change=f"CONFIG SET maxmemory {2 * limit >> 20}mb, or find what fills it: "
            "redis-cli --bigkeys; manage.py redis_optimizer_prune for results",
        )


@examination(
    "keys-command",
    Severity.WARNING,
    "KEYS walks through all keys of the server while everybody else waits: a second for some "
    "millions.",
)
def keys_command(evidence: Evidence) -> Iterator[Found]:
    for server in evidence.servers:
        calls, days = server.calls("keys"), _days(server)
        if calls < MANY * max(days, 1):
            continue
        yield Found(
            what=f"KEYS was called {calls:,} times on {server.address} in {_time(server)}.",
            change="cache.iter_keys(pattern) instead of cache.keys(pattern), or scan_iter(): "
            "they read piece by piece.",
        )


@examination(
    "many-flushes",
    Severity.WARNING,
    "FLUSHDB and FLUSHALL, which cache.clear() sends, delete whatever is there, and every process "
    "forgets all that it keeps: of every cache on the server.",
)
def many_flushes(evidence: Evidence) -> Iterator[Found]:
    for server in evidence.servers:
        calls, days = server.calls("flushdb", "flushall"), _days(server)
        if not server.used_for("cache") or calls < MANY * max(days, 1):
            continue
        yield Found(
            what=f"{server.address} was flushed {calls:,} times in {_time(server)}.",
            change="Delete what is meant: cache.delete_many(keys), cache.delete_pattern(pattern), "
            "or count up the VERSION of the cache.",
        )


def _are(uses: list[Use]) -> str:
    return "is" if len({use.name for use in uses}) == 1 else "are"


def _free_database(server: Server) -> int:
    taken = {use.database for use in server.uses}
    return next(number for number in range(len(taken) + 1) if number not in taken)


def _days(server: Server) -> float:
    return (server.number("uptime_in_seconds") or 0) / DAY


def _time(server: Server) -> str:
    days = _days(server)
    return f"{days:,.0f} days" if days >= 2 else f"{24 * days:,.1f} hours"


EXAMINATIONS: Final[tuple[Examination, ...]] = (
    jobs_in_cache_database,
    broker_evicts,
    cache_never_evicts,
    no_maxmemory,
    memory_full,
    keys_command,
    many_flushes,
)
