"""How long the coherence checker runs, and that it runs alone."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--coherence-seconds",
        type=float,
        metavar="SECONDS",
        help="how long each run of the coherence checker lasts (a few seconds by default); "
        "known when tests/e2e is named on the command line",
    )


@pytest.fixture
def lasting(request: pytest.FixtureRequest) -> Callable[[float], float]:
    """Return a function from a run's usual length, in seconds, to the one that was asked for."""
    # pytest reads this file, and knows the option, too late when only the root is named.
    asked = request.config.getoption("--coherence-seconds", default=None)
    return lambda usual: max(usual, asked or 0.0)


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let one run at a time use the machine, however many test processes there are.

    Staleness is latency, and several runs on few cores would measure each other.
    """
    with (tmp_path_factory.getbasetemp().parent / "coherence.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
