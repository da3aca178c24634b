"""What a worker that has nothing to do costs, by the server's own count."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from redis_optimizer.embedded import EmbeddedServer
from tests.cache.caches import counted
from tests.servers import connect, wait_until
from tests.tasks.processes import Site
from tests.tasks.quiet import TASKS, wait_for_wait, worker_settings

WINDOW = 12  # seconds; Celery as it comes sends 20 commands in them


@pytest.fixture
def admin(server: EmbeddedServer) -> Iterator[redis.Redis]:
    client = connect(server, timeout=30)
    yield client
    client.close()


@pytest.fixture
def idle(tmp_path: Path, server: EmbeddedServer, admin: redis.Redis) -> Callable[[str], list[int]]:
    """Return a function that runs an idle worker of a profile: its commands and connections."""

    def measure(profile: str) -> list[int]:
        site = Site(tmp_path, server.port, tasks=[TASKS], settings=worker_settings(profile))
        others = len(admin.client_list())
        with site.worker("-c", "2") as worker:
            wait_for_wait(admin)
            settle(admin)
            with counted(admin) as calls:
                time.sleep(WINDOW)
            connections = len(admin.client_list()) - others
            assert worker.stop() == 0
        return [sum(calls.values()), connections]

    return measure


def settle(admin: redis.Redis) -> None:
    """Wait until the worker has sent nothing for a second but what it sends for ever."""

    def is_quiet() -> bool:
        with counted(admin) as calls:
            time.sleep(1)
        return not set(calls) - {"brpop", "publish", "ping"}

    wait_until(is_quiet, 20)


def test_metered(idle: Callable[[str], list[int]]) -> None:
    commands, connections = idle("metered")
    # In 20 minutes it sends 3.8 a minute: a look for lost messages, which is four, or one of the
    # few others may fall into the window.
    assert commands <= 5
    assert connections <= 5


def test_metered_without_remote_control(idle: Callable[[str], list[int]]) -> None:
    commands, connections = idle("metered_no_remote_control")
    assert commands <= 5
    assert connections <= 3


@pytest.mark.slow
def test_balanced(idle: Callable[[str], list[int]]) -> None:
    commands, connections = idle("balanced")
    assert commands <= 10
    assert connections <= 6


@pytest.mark.slow
def test_the_default_is_what_it_is_measured_against(idle: Callable[[str], list[int]]) -> None:
    commands, connections = idle("default")
    assert commands >= 15
    assert connections >= 8
