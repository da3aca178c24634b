"""The search for leaks: what counts as left behind, and what does not."""

import asyncio
import threading

import pytest
import redis
from django.core.cache import caches
from django_redis import get_redis_connection

from redis_optimizer.cache import registry
from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.testing import leaks

pytest_plugins = ["pytester", "redis_optimizer.testing"]

plain = caches["plain"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE", 0.0)


def test_a_block_that_tidies_up_leaks_nothing() -> None:
    with leaks.find_leaks() as found:
        plain.set_many({"a": 1})
        get_redis_connection("plain").client_list()
        asyncio.run(plain.aget("a"))
        thread = threading.Thread(target=plain.get, args=("a",))
        thread.start()
        thread.join()
        assert found() == []


def test_a_thread_that_still_runs_is_a_leak() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="left over")
    with leaks.find_leaks() as found:
        thread.start()
        assert found() == ["the thread 'left over' still runs"]
        end.set()
        thread.join()
        assert found() == []


def test_a_thread_gets_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE", 10.0)
    end = threading.Event()
    with leaks.find_leaks() as found:
        threading.Thread(target=end.wait).start()
        threading.Timer(0.1, end.set).start()
        assert found() == []


def test_a_connection_not_given_back_is_a_leak() -> None:
    pool = get_redis_connection("plain").connection_pool
    with leaks.find_leaks() as found:
        connection = pool.get_connection()
        (leak,) = found()
        assert __file__ in leak
        pool.release(connection)
        assert found() == []


def test_a_closed_connection_is_none(server: EmbeddedServer) -> None:
    pool = redis.BlockingConnectionPool(host=HOST, port=server.port)
    with leaks.find_leaks() as found:
        connection = pool.get_connection()
        assert len(found()) == 1
        connection.disconnect()
        assert found() == []


def test_a_channel_is_a_leak_until_it_is_shut_down() -> None:
    with leaks.find_leaks() as found:
        assert caches["default"].tier.wait_ready(5)
        (leak,) = found()
        assert "channel" in leak
        assert "registry.shutdown()" in leak
        registry.shutdown()
        assert found() == []


def test_the_fixture_fails_a_test_that_leaks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import threading

        end = threading.Event()

        def test_leaks(no_redis_leaks):
            threading.Thread(target=end.wait, name="left over").start()

        def test_tidies_up():
            end.set()
        """
    )
    arguments = ["-p", "redis_optimizer.testing", "-p", "no:randomly", "-p", "no:django"]
    result = pytester.runpytest_subprocess(*arguments)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*The test left behind:*", "*the thread 'left over'*"])
