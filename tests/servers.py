"""Groups of servers, built from `EmbeddedServer`, and waiting without sleeping blindly."""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import redis

from redis_optimizer.embedded import HOST, EmbeddedServer

CONFIG = """\
port {port}
bind {host}
sentinel monitor {name} {host} {primary} 2
sentinel down-after-milliseconds {name} 500
sentinel failover-timeout {name} 3000
"""
# Sentinel's own timers, made shorter: an old primary is back in 2 s instead of 10 to 17.
# One that was not scheduled for 2 s believes nothing for 30 s, and calls a live primary down.
TIMERS = (
    *("info-period", 500, "ping-period", 200, "ask-period", 300, "publish-period", 300),
    *("tilt-trigger", 10_000, "tilt-period", 1000),
)
PATIENT = 60.0  # seconds that what is sure to come may take on a machine that is busy
QUICK_SYNC = ("--repl-diskless-sync-delay", "0")  # the server's default waits 5 s for more replicas


def wait_until(predicate: Callable[[], Any], timeout: float = PATIENT, step: float = 0.01) -> Any:
    """Call the predicate until it is true and return what it returned.

    Args:
        predicate: asked every `step` seconds; a `RedisError` counts as not yet.
        timeout: seconds.

    Raises:
        AssertionError: it was not true in time; holds what was seen last.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            seen = predicate()
        except redis.RedisError as error:
            seen, failure = None, repr(error)
        else:
            failure = repr(seen)
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"Not so within {timeout} s; seen last: {failure}")
        time.sleep(step)


def connect(server: EmbeddedServer, timeout: float = 2) -> redis.Redis:
    """Return a client of the tests' own.

    Args:
        server: To connect to.
        timeout: Seconds that an answer may take.
    """
    return redis.Redis(HOST, server.port, decode_responses=True, socket_timeout=timeout)


@contextlib.contextmanager
def busy(server: EmbeddedServer) -> Iterator[None]:
    """Have the server run a script inside the block: others are told BUSY."""
    endless = "while redis.call('EXISTS', 'never') == 0 do end"
    with connect(server) as client, connect(server, timeout=60) as caller:
        client.config_set("busy-reply-threshold", 1)
        # As SCRIPT KILL ends it, that is what its caller is told.
        running = threading.Thread(target=_run_killed, args=[caller, endless])
        running.start()
        try:
            wait_until(lambda: _is_busy(client))
            yield
        finally:
            client.script_kill()
            running.join()


def _run_killed(client: redis.Redis, script: str) -> None:
    with contextlib.suppress(redis.ResponseError):
        client.eval(script, 0)


def _is_busy(client: redis.Redis) -> bool:
    try:
        client.ping()
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")
    return False


class SentinelServer(EmbeddedServer):
    """One Sentinel that watches the primary at a port, under a name."""

    def __init__(self, primary: int, name: str) -> None:
        super().__init__()
        self.primary = primary
        self.name = name

    def command(self, binary: str) -> list[str]:
        path = self.directory / "sentinel.conf"
        text = CONFIG.format(host=HOST, port=self.port, name=self.name, primary=self.primary)
        path.write_text(text)
        return [binary, str(path), "--sentinel"]


@dataclass(frozen=True)
class SentinelGroup:
    """A primary, its replica and the three Sentinels that watch them under a name.

    The name is of this group alone: django-redis keeps a pool for each URL, which holds the name.
    """

    name: str
    primary: EmbeddedServer
    replica: EmbeddedServer
    sentinels: tuple[EmbeddedServer, ...]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Return the Sentinels' addresses, as clients take them."""
        return [(HOST, sentinel.port) for sentinel in self.sentinels]


@contextlib.contextmanager
def sentinel() -> Iterator[SentinelGroup]:
    """Run a primary, a replica and three Sentinels that know each other."""
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(EmbeddedServer(args=QUICK_SYNC))
        replica = stack.enter_context(
            EmbeddedServer(args=(*QUICK_SYNC, "--replicaof", HOST, str(primary.port)))
        )
        name = f"primary-{uuid.uuid4().hex}"
        sentinels = tuple(stack.enter_context(SentinelServer(primary.port, name)) for _ in range(3))
        _wait_for_replica(replica)
        for one in sentinels:
            _wait_for_group(one, name)
        yield SentinelGroup(name, primary, replica, sentinels)


def _wait_for_replica(server: EmbeddedServer) -> None:
    with connect(server) as client:
        wait_until(lambda: client.info("replication")["master_link_status"] == "up")


def _wait_for_group(server: EmbeddedServer, name: str) -> None:
    with connect(server) as client:
        client.execute_command("SENTINEL DEBUG", *TIMERS)

        def knows_all() -> bool:
            state = client.execute_command("SENTINEL MASTER", name)
            return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)

        wait_until(knows_all)
