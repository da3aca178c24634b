"""Helpers for the tests of sites that use Redis, and a pytest plugin that offers them as fixtures.

`assert_max_commands` is a command budget, `clear_l1` and `clear_responses` forget what this process
remembers, and the fixture `no_redis_leaks` fails a test that leaves threads or connections behind.
All but the fixtures work without pytest, and importing this module imports neither Django nor
redis.
"""

from __future__ import annotations

from redis_optimizer.testing.commands import Command, SentCommands, assert_max_commands

__all__ = ["Command", "SentCommands", "assert_max_commands", "clear_l1", "clear_responses"]


def clear_l1() -> None:
    """Empty the L1 of every cache in this process; Redis and other processes keep theirs."""
    from redis_optimizer.cache import registry

    for tier in registry.tiers():
        tier.store.clear()


def clear_responses() -> None:
    """Forget the responses of `cached_status` and `cached_health` views, and health verdicts."""
    from redis_optimizer.decorators.shelf import shelf
    from redis_optimizer.health.verdict import reset_verdicts

    shelf.clear()
    reset_verdicts()


try:
    import pytest
except ImportError:  # a site that tests with unittest
    pass
else:
    from collections.abc import Iterator

    from redis_optimizer.testing.leaks import find_leaks

    @pytest.fixture(name="assert_max_commands")
    def assert_max_commands_fixture() -> type[assert_max_commands]:
        """Return `redis_optimizer.testing.assert_max_commands`."""
        return assert_max_commands

    @pytest.fixture
    def no_redis_leaks() -> Iterator[None]:
        """Fail the test if threads, channels or taken connections that it began are left."""
        with find_leaks() as leaks:
            yield
            if found := leaks():
                pytest.fail("The test left behind:\n  " + "\n  ".join(found), pytrace=False)
