"""What each public method of django-redis's backend does to the keys that are kept in process.

Every public method stands in exactly one of these tables; a test compares them with the class.
"""

from typing import Final, NamedTuple

__all__ = ["ASYNC", "ENDS_ALL", "PASSED_ON", "SERVED", "WRITES", "Written"]


class Written(NamedTuple):
    """One key that a method writes: the arguments that name it, as django-redis calls them."""

    key: str
    version: str | None = "version"


_KEY: Final = (Written("key"),)

WRITES: Final[dict[str, tuple[Written, ...]]] = {
    **dict.fromkeys(
        (
            "add",
            "decr",
            "delete",
            "expire",
            "expire_at",
            "hdel",
            "hset",
            "incr",
            "persist",
            "pexpire",
            "pexpire_at",
            "sadd",
            "set",
            "spop",
            "srem",
            "touch",
            "zadd",
            "zincrby",
            "zpopmax",
            "zpopmin",
            "zrem",
            "zremrangebyscore",
        ),
        _KEY,
    ),
    "sdiffstore": (Written("dest", "version_dest"),),
    "sinterstore": (Written("dest"),),
    "smove": (Written("source"), Written("destination", None)),
    "sunionstore": (Written("destination"),),
}
"""Writers of keys that their arguments name one by one."""

SPECIAL: Final = frozenset({"decr_version", "delete_many", "incr_version", "lock", "set_many"})
"""Writers that TieredCache spells out."""

ENDS_ALL: Final = frozenset({"clear", "delete_pattern"})
"""Writers whose keys only the server knows: everything kept is let go."""

SERVED: Final = frozenset({"get", "get_many", "get_or_set", "has_key"})
"""Readers that are answered in process where possible."""

PASSED_ON: Final = frozenset(
    {
        "close",
        "hexists",
        "hkeys",
        "hlen",
        "iter_keys",
        "keys",
        "make_and_validate_key",
        "make_key",
        "get_backend_timeout",
        "pttl",
        "scard",
        "sdiff",
        "sinter",
        "sismember",
        "smembers",
        "smismember",
        "srandmember",
        "sscan",
        "sscan_iter",
        "sunion",
        "ttl",
        "validate_key",
        "zcard",
        "zcount",
        "zrange",
        "zrangebyscore",
        "zrank",
        "zrevrange",
        "zrevrangebyscore",
        "zscore",
    }
)
"""Readers that always ask Redis, and methods that touch no key."""

ASYNC: Final = (
    "add",
    "clear",
    "close",
    "decr",
    "decr_version",
    "delete",
    "delete_many",
    "incr",
    "incr_version",
    "set",
    "set_many",
    "touch",
)
"""Methods whose coroutine runs the method itself in a thread."""
