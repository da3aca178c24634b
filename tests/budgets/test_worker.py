"""What workers that have nothing to do cost, by the server's own count."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import redis

from redis_optimizer.embedded import EmbeddedServer
from tests.cache.caches import command_calls, counted
from tests.servers import connect, wait_until
from tests.tasks.processes import Site
from tests.tasks.quiet import TASKS, wait_for_wait, worker_settings

WINDOW = 12  # seconds; Celery as it comes sends 20 commands in them
PROFILES = ("metered", "metered_no_remote_control", "balanced", "default")


@dataclass
class Idle:
    """What an idle worker sent within the window, and the connections that it has."""

    commands: int
    connections: int


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Idle]]:
    """Measure a worker of each profile, all at the same time and each on a server of its own."""
    with ExitStack() as running:
        workers, admins = {}, {}
        for profile in PROFILES:
            server = running.enter_context(EmbeddedServer())
            admins[profile] = running.enter_context(connect(server, timeout=30))
            site = Site(
                tmp_path_factory.mktemp(profile),
                server.port,
                tasks=[TASKS],
                settings=worker_settings(profile),
            )
            workers[profile] = running.enter_context(site.worker("-c", "2", ready=False))
        for profile, admin in admins.items():
            workers[profile].wait_ready()
            wait_for_wait(admin)
        for admin in admins.values():
            settle(admin)
        for admin in admins.values():
            admin.config_resetstat()
        time.sleep(WINDOW)
        yield {
            profile: Idle(
                commands=sum(command_calls(admin).values()),
                connections=len(admin.client_list()) - 1,  # the one that asks
            )
            for profile, admin in admins.items()
        }


def settle(admin: redis.Redis) -> None:
    """Wait until the worker has sent nothing for a second but what it sends for ever."""

    def is_quiet() -> bool:
        with counted(admin) as calls:
            time.sleep(1)
        return not set(calls) - {"brpop", "publish", "ping"}

    wait_until(is_quiet)


def test_metered(idle: dict[str, Idle]) -> None:
    # In 20 minutes it sends 3.8 a minute: a look for lost messages, which is four, or one of the
    # few others may fall into the window.
    assert idle["metered"].commands <= 5
    assert idle["metered"].connections <= 5


def test_metered_without_remote_control(idle: dict[str, Idle]) -> None:
    assert idle["metered_no_remote_control"].commands <= 5
    assert idle["metered_no_remote_control"].connections <= 3


def test_balanced(idle: dict[str, Idle]) -> None:
    assert idle["balanced"].commands <= 10
    assert idle["balanced"].connections <= 6


def test_the_default_is_what_it_is_measured_against(idle: dict[str, Idle]) -> None:
    assert idle["default"].commands >= 15
    assert idle["default"].connections >= 8
