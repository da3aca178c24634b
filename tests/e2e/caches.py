"""The caches that the processes of a run use, all on the same keys."""

from __future__ import annotations

import pickle
import random
import time
from collections.abc import Iterable, Mapping
from typing import Any

import django
import redis
from django.conf import settings
from django.core.cache import caches
from redis.backoff import NoBackoff
from redis.retry import Retry

from .history import ABSENT
from .mutations import MUTATIONS
from .plan import PREFIX, RAW, ROLES, TIERED, Plan

TIMEOUT = 2.0  # seconds until a call on a frozen server fails
READY_WITHIN = 20.0  # seconds


class SlowConnection(redis.Connection):
    """A connection of a busy process: it sits on some replies to a GET, or does not come to read.

    Attributes:
        delay: Upper bound in seconds of the time between a reply to a GET and its use.
        share: Share of those replies that are delayed.
        deaf: From when to when, on the monotonic clock, nothing is read from the channel.
    """

    delay = 0.0
    share = 0.0
    deaf = (0.0, 0.0)
    _is_read = False

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        self._is_read = args[0] in ("GET", "MGET")
        super().send_command(*args, **kwargs)

    def pack_commands(self, commands: Iterable[Any]) -> Any:
        commands = list(commands)
        self._is_read = commands[0][0] == "GET"
        return super().pack_commands(commands)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        reply = super().read_response(*args, **kwargs)
        # Nobody but the channel takes push messages.
        if kwargs.get("push_request") and self.deaf[0] < (now := time.monotonic()) < self.deaf[1]:
            time.sleep(self.deaf[1] - now)
        if self._is_read and random.random() < self.share:
            time.sleep(random.uniform(0, self.delay))
        return reply


def configure(plan: Plan, role: str, url: str) -> None:
    """Set up Django with one cache, as the settings of a site would."""
    SlowConnection.delay, SlowConnection.share = plan.delay, plan.delay_share
    options: dict[str, Any] = {
        "CONNECTION_POOL_KWARGS": {
            "connection_class": SlowConnection,
            "socket_timeout": TIMEOUT,
            # A write that redis-py sends twice has no one moment at which it was applied.
            "retry": Retry(NoBackoff(), 0),
        },
    }
    if plan.cluster:
        options["CLIENT_CLASS"] = "redis_optimizer.cache.cluster.ClusterClient"
    if role == TIERED:
        options["L1"] = {
            "HEARTBEAT": plan.heartbeat,
            "MAX_STALENESS": plan.max_staleness,
            "START_AFTER": 1,
            **plan.options,
        }
    settings.configure(
        INSTALLED_APPS=["redis_optimizer"],
        CACHES={
            "default": {
                "BACKEND": ROLES[role],
                "LOCATION": url,
                "KEY_PREFIX": PREFIX,
                "TIMEOUT": 600,
                "OPTIONS": options,
            }
        },
    )
    django.setup()
    if plan.mutation:
        MUTATIONS[plan.mutation]()


class RawCache:
    """The calls that a run makes, by a plain client: what a script beside the site would do."""

    def __init__(self, url: str) -> None:
        # Of a cluster, there are the URLs of several nodes.
        kind: Any = redis.RedisCluster if "," in url else redis.Redis
        retry = Retry(NoBackoff(), 0)
        self.client = kind.from_url(url.split(",")[0], socket_timeout=TIMEOUT, retry=retry)

    def get(self, key: str) -> Any:
        return self.decode(self.client.get(self.make_key(key)))

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        keys = list(keys)
        replies = self.client.mget([self.make_key(key) for key in keys])
        found = zip(keys, map(self.decode, replies), strict=True)
        return {key: value for key, value in found if value is not None}

    def set(self, key: str, value: Any) -> None:
        self.client.set(self.make_key(key), self.encode(value), ex=600)

    def set_many(self, values: Mapping[str, Any]) -> None:
        with self.client.pipeline() as pipeline:
            for key, value in values.items():
                pipeline.set(self.make_key(key), self.encode(value), ex=600)
            pipeline.execute()

    def incr(self, key: str) -> int:
        script = "return redis.call('EXISTS', KEYS[1]) == 1 and redis.call('INCR', KEYS[1])"
        value = self.client.eval(script, 1, self.make_key(key))
        if value is None:
            raise ValueError(key)
        return int(value)

    def delete(self, key: str) -> None:
        self.client.delete(self.make_key(key))

    @staticmethod
    def make_key(key: str) -> str:
        return f"{PREFIX}:1:{key}"

    @staticmethod
    def encode(value: Any) -> Any:
        return value if isinstance(value, int) else pickle.dumps(value)

    @staticmethod
    def decode(reply: bytes | None) -> Any:
        if reply is None or reply.lstrip(b"-").isdigit():
            return None if reply is None else int(reply)
        return pickle.loads(reply)


def open_cache(role: str, url: str) -> Any:
    """Return the calling thread's cache."""
    return RawCache(url) if role == RAW else caches["default"]


def wait_until_ready(cache: Any) -> None:
    """Wait until a tier serves from memory, so that the run measures that from the start."""
    if tier := getattr(cache, "tier", None):
        assert tier.wait_ready(READY_WITHIN), "the tier did not become ready"


def document(version: int) -> dict[str, Any]:
    """Return a value that is kept pickled, and whose parts belong together."""
    return {"version": version, "copies": [version] * 20}


def version_of(value: Any) -> int:
    """Return the version that a cached value carries.

    Raises:
        AssertionError: The value is none that a run writes.
    """
    if value is None:
        return ABSENT
    if isinstance(value, int):
        return value
    assert value == document(value["version"]), f"a torn value: {value}"
    return int(value["version"])
