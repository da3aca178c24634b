"""One real server for each test process, empty at the start of every test."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest
import redis
from django.conf import settings
from django.urls import clear_script_prefix
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis

from redis_optimizer import _ports, switches
from redis_optimizer.embedded import HOST, EmbeddedServer, ServerNotFound, find_binary

# The same examples in every run, and none too slow: the machine may be busy. What a test's fixtures
# make, it shares among its examples.
hypothesis.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=30,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
hypothesis.load_profile("ci")

# The caches' own test suites, run with settings of their own: see tox.ini.
collect_ignore = ["upstream"]


def pytest_configure(config: pytest.Config) -> None:
    _keep_bytecode(config)
    # A shell has what it runs in the background ignore it, and with it what the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _take_own_ports()
    try:
        find_binary()
    except ServerNotFound as error:
        raise pytest.UsageError(str(error)) from error


def _keep_bytecode(config: pytest.Config) -> None:
    """Where the sources get no byte code beside them, keep it with what pytest keeps.

    Hundreds of processes are started, xdist's among them, and each would compile the same modules:
    a management command of the example site takes 1.1 s of CPU instead of 2.1 s, a worker a tenth
    less.
    """
    cache = getattr(config, "cache", None)  # a run may go without
    if cache is not None and os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        os.environ["PYTHONPYCACHEPREFIX"] = str(cache.mkdir("bytecode"))


def _take_own_ports() -> None:
    """Give each process of pytest-xdist ports of its own.

    Where a server was killed, none of another process may answer.
    """
    number = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    count = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "")
    if number and count:
        _ports.PORTS = _ports.PORTS[int(number) :: int(count)]


@pytest.hookimpl(trylast=True)  # after pytest-randomly
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes: the other processes share the rest."""
    items.sort(key=lambda item: item.get_closest_marker("minutes") is None)


@pytest.fixture(scope="session", autouse=True)
def server() -> Iterator[EmbeddedServer]:
    """Run the server that `tests.settings` names."""
    with (
        pytest.MonkeyPatch.context() as patch,
        EmbeddedServer(port=settings.REDIS_TEST_PORT) as running,
    ):
        patch.setenv("REDIS_TEST_PORT", str(running.port))
        yield running


@pytest.fixture(scope="session")
def admin(server: EmbeddedServer) -> Iterator[redis.Redis]:
    """Yield a client of the tests' own, which no cache backend knows of."""
    with redis.Redis(HOST, server.port, decode_responses=True) as client:
        yield client


@pytest.fixture(autouse=True)
def fresh(admin: redis.Redis) -> Iterator[None]:
    """Leave nothing to the next test: a tier, a key, a switch, or where the site is mounted."""
    yield
    clear_script_prefix()
    switches.reset()  # first: a process that knows of a part that is off writes that again
    # Only a test that used a tier has loaded the registry.
    if registry := sys.modules.get("redis_optimizer.cache.registry"):
        registry.shutdown()
    admin.flushall()
