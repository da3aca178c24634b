"""Wire counts what clients sent: all of it, nothing of its own, and nothing that scripts did."""

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
import redis

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.benchmark.monitor import parse
from redis_optimizer.management.benchmark.wire import Wire


@pytest.fixture
def wire(server: EmbeddedServer) -> Iterator[Wire]:
    with Wire(server.url) as counting:
        yield counting


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    """Yield a client that is connected before anything is counted."""
    with redis.Redis.from_url(server.url) as connected:
        connected.ping()
        yield connected


def test_counts_each_command_of_a_pipeline_and_a_script_once(
    client: redis.Redis, wire: Wire
) -> None:
    client.get("a")
    client.pipeline().set("a", 1).get("a").execute()
    client.eval("return {redis.call('GET', KEYS[1]), redis.call('TTL', KEYS[1])}", 1, "a")
    counts = wire.counts()
    assert counts.commands == Counter(GET=2, SET=1, MULTI=1, EXEC=1, EVAL=1)
    assert counts.reads == 3


def test_counts_nothing_of_its_own(wire: Wire) -> None:
    for _ in range(3):
        wire.counts()
    assert wire.counts().commands == Counter()
    assert wire.counts().clients == {}
    assert wire.counts().reads == 0


def test_counts_connecting_apart(server: EmbeddedServer, wire: Wire) -> None:
    with redis.Redis.from_url(f"{server.url[:-1]}1", client_name="me", protocol=3) as client:
        client.get("a")
        counts = wire.counts()
    assert counts.commands == Counter(GET=1)
    expected = Counter({"HELLO": 1, "CLIENT SETNAME": 1, "CLIENT SETINFO": 2, "SELECT": 1})
    assert counts.connecting == expected


def test_counts_what_monitor_does_not_show(client: redis.Redis, wire: Wire) -> None:
    client.client_list()
    client.config_get("maxmemory")
    assert wire.counts().commands == Counter({"CLIENT LIST": 1, "CONFIG GET": 1})


def test_counts_a_blocking_command_when_it_is_sent_and_once(
    client: redis.Redis, admin: redis.Redis, wire: Wire
) -> None:
    waiting = threading.Thread(target=client.brpop, args=("list", 5))
    waiting.start()
    while not admin.info("clients")["blocked_clients"]:
        pass
    wire.restart()
    admin.lpush("list", 1)
    waiting.join()
    assert wire.counts().commands == Counter(LPUSH=1)


def test_can_begin_anew(client: redis.Redis, wire: Wire) -> None:
    client.get("a")
    wire.restart()
    client.set("a", 1)
    assert wire.counts().commands == Counter(SET=1)
    client.set("a", 2)
    assert wire.counts().commands == Counter(SET=2)


def test_arguments_do_not_confuse_it(client: redis.Redis, wire: Wire) -> None:
    client.set('k" "x', b'\x00\r\n" "\xff\\')
    client.set("] ", "] ")
    client.set("large", b"\n" * 100_000)
    assert wire.counts().commands == Counter(SET=3)


def test_tells_clients_apart(server: EmbeddedServer, admin: redis.Redis, wire: Wire) -> None:
    admin.acl_setuser("visitor", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    try:
        with (
            redis.Redis.from_url(server.url, client_name="first") as first,
            redis.Redis.from_url(server.url, username="visitor", password="any") as second,
        ):
            first.get("a")
            second.set("a", 1)
            second.get("a")
            counts = wire.counts()
    finally:
        admin.acl_deluser("visitor")
    by_user = counts.by_user()
    assert by_user["visitor"] == Counter(GET=1, SET=1)
    assert by_user["default"]["GET"] == 1
    named = {client.name: sent for client, sent in counts.clients.items()}
    assert named["first"]["GET"] == 1
    assert named["first"]["CLIENT SETNAME"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="processes are told apart by Linux's /proc")
def test_tells_processes_apart(server: EmbeddedServer, client: redis.Redis, wire: Wire) -> None:
    code = "import redis, sys; c = redis.Redis.from_url(sys.argv[1]); c.get('a'); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ},
    )
    client.set("a", 1)
    try:
        while "GET" not in (counts := wire.counts()).commands:
            assert other.poll() is None
    finally:
        other.communicate(b"\n")
    assert counts.by_process() == {other.pid: Counter(GET=1), os.getpid(): Counter(SET=1)}


def test_a_server_that_went_away_is_said() -> None:
    with EmbeddedServer() as own, Wire(own.url) as counting:
        own.kill()
        with pytest.raises(redis.ConnectionError):
            counting.counts()
        own.restart()
        with pytest.raises(redis.ConnectionError, match="MONITOR has ended"):
            counting.counts()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'1.5 [0 127.0.0.1:56454] "get" "a" "b"', ("127.0.0.1:56454", "GET", "a")),
        (b'1.5 [0 [::1]:5644] "PING"', ("[::1]:5644", "PING", "")),
        (b'1.5 [0 unix:/run/redis.sock] "GET" "a"', ("unix:/run/redis.sock", "GET", "a")),
        (b'1.5 [15 lua] "set" "a" "1"', ("lua", "SET", "a")),
        (b'1.5 [0 h:1] "client" "SetName" "me"', ("h:1", "CLIENT SETNAME", "me")),
        (b'1.5 [0 h:1] "SET" "a\\" \\"b] " "1"', ("h:1", "SET", 'a\\" \\"b] ')),
    ],
)
def test_lines_of_monitor(line: bytes, expected: tuple[str, str, str]) -> None:
    assert parse(line) == expected
