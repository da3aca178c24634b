"""Each fault does to a server what it says, and is over when its function returns."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_optimizer.embedded import HOST
from tests.servers import wait_until

from .faults import FAULTS, OF_SERVERS, OF_SITE
from .ground import Place

pytestmark = pytest.mark.slow

HOLD = 1.0  # seconds
SEEN = {
    "kill": redis.ConnectionError,
    "freeze": redis.TimeoutError,
    "unreachable": redis.TimeoutError,
    "cut": redis.ConnectionError,
    "disk_full": redis.ResponseError,
    "full": redis.exceptions.OutOfMemoryError,
    "busy": redis.ResponseError,
}
"""What a write meets while the fault lasts."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place("one", tmp_path_factory.mktemp("place"))
    place.start()
    yield place
    place.stop()


@pytest.fixture
def client(place: Place) -> Iterator[redis.Redis]:
    """Yield a client that comes by the network, and does nothing twice."""
    once = Retry(NoBackoff(), 0)
    with redis.Redis(HOST, place.port, socket_timeout=0.3, retry=once) as client:
        yield client


def write(client: redis.Redis) -> type[Exception] | None:
    """Return what a write met, of the kinds that are awaited."""
    try:
        client.set("k", "x" * 1000)
    except redis.RedisError as error:
        return type(error)
    return None


@pytest.mark.parametrize("name", SEEN)
def test_writes_fail_while_it_lasts_and_succeed_when_it_is_over(
    place: Place, client: redis.Redis, name: str
) -> None:
    assert write(client) is None
    fault = threading.Thread(target=OF_SERVERS[name][0], args=[place, HOLD])
    fault.start()
    wait_until(lambda: write(client) is SEEN[name])
    fault.join()
    wait_until(lambda: write(client) is None)


@pytest.mark.parametrize("name", ["restart", "kill_clients"])
def test_connections_are_closed(place: Place, client: redis.Redis, name: str) -> None:
    before = client.client_id()
    OF_SERVERS[name][0](place, HOLD)
    wait_until(lambda: client.client_id() and write(client) is None)
    with place.admin() as admin:
        if name == "kill_clients":
            assert before not in {int(each["id"]) for each in admin.client_list()}
        else:
            assert admin.info("server")["uptime_in_seconds"] < 60


def test_only_channels_are_closed(place: Place, client: redis.Redis) -> None:
    channel = redis.Redis(HOST, place.port, client_name="redis_optimizer:channel:1")
    channel.ping()
    mine = client.client_id()
    OF_SERVERS["kill_channels"][0](place, HOLD)
    assert client.client_id() == mine
    with place.admin() as admin:
        assert not [each for each in admin.client_list() if "channel" in each["name"]]
    channel.close()


def test_keys_are_evicted_and_no_write_is_refused(place: Place, client: redis.Redis) -> None:
    OF_SERVERS["evicting"][0](place, HOLD)
    with place.admin() as admin:
        assert admin.info("stats")["evicted_keys"] > 0
    assert write(client) is None


def test_the_clock_of_a_process_can_be_set(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    code = "import time; print(time.time())"

    def ask(step: float) -> float:
        clock.write_bytes(struct.pack("d", step))
        path = [str(Path(__file__).with_name("clock")), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "SOAK_CLOCK": str(clock), "PYTHONPATH": ":".join(path)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=True
        )
        return float(done.stdout)

    assert ask(3600) - ask(0) > 3000


def test_every_fault_is_tried_here() -> None:
    others = {"restart", "kill_clients", "kill_channels", "evicting"}
    tried: set[str] = {*SEEN, *others, *OF_SITE}
    assert tried == set(FAULTS)
