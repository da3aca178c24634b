"""A call, or more, of every method of django-redis's backend, on keys of every type."""

from collections.abc import Callable, Iterator
from typing import Any

from django_redis.cache import RedisCache
from redis.lock import Lock

FAR_AHEAD = 4_000_000_000  # as a Unix time
KEYS = [
    (key, version)
    for key in ("int", "text", "big", "set", "set2", "hash", "zset", "absent", "dest")
    for version in (None, 2)
]
"""What :func:`fill` makes, and what it does not: "absent", "dest" and most of version 2."""


def fill(cache: RedisCache[Any]) -> None:
    """Write one key of each type."""
    cache.set("int", 5, None)
    cache.set("int", 6, None, version=2)
    cache.set("text", "one", None)
    cache.set("big", 2**63 - 1, None)  # what INCRBY refuses, django-redis adds by itself
    cache.sadd("set", "a", "b")
    cache.sadd("set2", "b")
    cache.hset("hash", "field", "value")
    cache.zadd("zset", {"a": 1, "b": 2})


def make_list() -> list[str]:
    """Make what nobody has."""
    return ["made"]


class Call:
    """One method with its arguments.

    Args:
        name: of the method.
        args, kwargs: what it is called with.
    """

    django: tuple[str, Any] | None = None
    """The outcome that Django documents, where django-redis has another one."""

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        self.name, self.args, self.kwargs = name, args, kwargs

    def __call__(self, cache: RedisCache[Any]) -> Any:
        return getattr(cache, self.name)(*self.args, **self.kwargs)

    def __repr__(self) -> str:
        arguments = [
            *(getattr(a, "__name__", repr(a)) for a in self.args),
            *(f"{k}={v!r}" for k, v in self.kwargs.items()),
        ]
        return f"{self.name}({', '.join(arguments)})"

    def differs(self, *outcome: Any) -> "Call":
        """Note what Django documents."""
        self.django = outcome  # type: ignore[assignment]
        return self


def outcome(act: Callable[[], Any]) -> tuple[str, Any]:
    """Return what a call returned or raised, in a form that can be compared."""
    try:
        result = act()
    except Exception as error:
        return ("raised", type(error))
    if isinstance(result, Iterator):
        result = sorted(result, key=repr)
    return ("returned", Lock if isinstance(result, Lock) else result)


CALLS = [
    # Writers
    Call("add", "int", 1),
    Call("add", "absent", 1),
    Call("add", "absent", 1, 60, 2),
    Call("add", key="absent", value=1, timeout=0),
    Call("clear"),
    Call("decr", "int", 2),
    Call("decr", "text"),
    Call("decr_version", "int", version=2),
    Call("decr_version", "int", 3, version=2),
    Call("decr_version", "absent"),
    Call("delete", "text"),
    Call("delete", "int", 2),
    Call("delete", key="absent"),
    Call("delete_many", ["int", "text", "absent"]),
    Call("delete_many", ["int"], version=2),
    Call("delete_many", []).differs("returned", None),
    Call("delete_pattern", "t*"),
    Call("delete_pattern", "i*", version=2),
    Call("expire", "text", 60),
    Call("expire", "text", 0),
    Call("expire_at", "text", FAR_AHEAD),
    Call("expire_at", "text", 1),
    Call("hdel", "hash", "field"),
    Call("hset", "hash", "other", 1),
    Call("hset", "absent", mapping={"field": 1}),
    Call("hset", "dest", "field", 1, version=2),
    Call("incr", "int"),
    Call("incr", "int", 10, version=2),
    Call("incr", "big"),
    Call("incr", "text"),
    Call("incr", "absent"),
    Call("incr", "absent", ignore_key_check=True),
    Call("incr_version", "int", 2),
    Call("incr_version", "int"),
    Call("incr_version", "text", delta=1),
    Call("incr_version", "absent"),
    Call("lock", "absent", timeout=60),
    Call("persist", "text"),
    Call("pexpire", "text", 60_000),
    Call("pexpire", "text", -1),
    Call("pexpire_at", "text", FAR_AHEAD * 1000),
    Call("pexpire_at", "text", 1),
    Call("sadd", "set", "c"),
    Call("sadd", "absent", 1, 2),
    Call("sadd", "text", 1),
    Call("sdiffstore", "dest", "set", "set2"),
    Call("sdiffstore", "text", "set", "set2"),
    Call("sdiffstore", "dest", "set", "set2", version_dest=2),
    Call("set", "text", "two"),
    Call("set", "absent", {"a": 1}, 60, 2),
    Call("set", "text", "two", timeout=0),
    Call("set", "text", "two", timeout=-1),
    Call("set", "text", "two", nx=True),
    Call("set", "absent", "two", xx=True),
    Call("set", key="int", value=1, timeout=None, version=2),
    Call("set", "text", value=None),
    Call("set_many", {"text": 1, "absent": 2}).differs("returned", []),
    Call("set_many", {"text": 1, "absent": 2}, 60, 2).differs("returned", []),
    Call("set_many", {"text": 1}, timeout=0).differs("returned", []),
    Call("set_many", {}).differs("returned", []),
    Call("sinterstore", "dest", "set", "set2"),
    Call("sinterstore", "int", "set", "set2", version=2),
    Call("smove", "set", "dest", "a"),
    Call("smove", "set2", "set", "b"),
    Call("spop", "set2"),
    Call("spop", "set", 2),
    Call("srem", "set", "a", "b"),
    Call("sunionstore", "dest", "set", "set2"),
    Call("sunionstore", destination="text", version=None),
    Call("touch", "text", 60),
    Call("touch", "text", 0),
    Call("touch", "absent"),
    Call("touch", "text", timeout=None),
    Call("zadd", "zset", {"c": 3}),
    Call("zadd", "absent", {"c": 3}, version=2),
    Call("zincrby", "absent", 1, "a"),
    Call("zpopmax", "zset", 2),
    Call("zpopmin", "zset"),
    Call("zrem", "zset", "a", "b"),
    Call("zremrangebyscore", "zset", 0, 9),
    # Readers
    Call("close"),
    Call("get", "text"),
    Call("get", "absent", "default"),
    Call("get", "int", version=2),
    Call("get", "set"),
    Call("get_many", ["text", "absent", "int"]),
    Call("get_many", ["int", "text"], 2),
    Call("get_many", []),
    Call("get_or_set", "text", "made"),
    Call("get_or_set", "absent", make_list),
    Call("get_or_set", "absent", None, 60, version=2),
    Call("get_or_set", "absent", "made", timeout=0),
    Call("get_backend_timeout", None),
    Call("has_key", "text"),
    Call("has_key", "absent"),
    Call("has_key", "zset"),
    Call("hexists", "hash", "field"),
    Call("hkeys", "hash"),
    Call("hlen", "hash"),
    Call("iter_keys", "*t*"),
    Call("keys", "text*"),
    Call("make_and_validate_key", "text"),
    Call("make_key", "text", 2),
    Call("pttl", "text"),
    Call("scard", "set"),
    Call("sdiff", "set", "set2"),
    Call("sinter", "set", "set2"),
    Call("sismember", "set", "a"),
    Call("smembers", "set"),
    Call("smismember", "set", "a", "c"),
    Call("srandmember", "set2"),
    Call("sscan", "set"),
    Call("sscan_iter", "set"),
    Call("sunion", "set", "set2"),
    Call("ttl", "text"),
    Call("ttl", "absent"),
    Call("validate_key", "text"),
    Call("zcard", "zset"),
    Call("zcount", "zset", 0, 9),
    Call("zrange", "zset", 0, 9),
    Call("zrangebyscore", "zset", 0, 9),
    Call("zrank", "zset", "b"),
    Call("zrevrange", "zset", 0, 9, withscores=True),
    Call("zrevrangebyscore", "zset", 9, 0),
    Call("zscore", "zset", "b"),
]
