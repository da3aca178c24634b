"""What is seen to fail speaks against a good verdict at once."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from django_redis.exceptions import ConnectionInterrupted
from kombu.exceptions import OperationalError as BrokerError

from redis_optimizer.channel import Channel
from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.health import get_verdict, losses, peek_verdict
from redis_optimizer.signals import server_lost
from tests.cache.caches import kill_channels, tiered
from tests.channel.listeners import Listener
from tests.health.sites import site
from tests.servers import wait_until

errors: list[BaseException] = []


def view(request: HttpRequest) -> HttpResponse:
    raise errors[-1]


async def aview(request: HttpRequest) -> HttpResponse:
    raise errors[-1]


urlpatterns = [path("sync/", view), path("async/", aview)]


@pytest.fixture(autouse=True)
def _known(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    with site():
        get_verdict()
        yield


@pytest.fixture
def lost() -> Iterator[list[str]]:
    """Yield the reasons with which servers were told to be lost."""
    reasons: list[str] = []

    def note(reason: str, **kwargs: object) -> None:
        reasons.append(reason)

    server_lost.connect(note)
    yield reasons
    server_lost.disconnect(note)


def caused_by(error: BaseException, *, explicitly: bool) -> Exception:
    """Return an error that was raised because of another one, or while it was handled."""
    try:
        try:
            raise error
        except BaseException as cause:
            raise RuntimeError from cause if explicitly else None
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("server closed the connection"),
        InterfaceError("connection already closed"),
        redis.ConnectionError(),
        redis.TimeoutError(),
        ConnectionInterrupted(connection=None),
        BrokerError(),
        caused_by(OperationalError(), explicitly=True),
        caused_by(redis.BusyLoadingError(), explicitly=False),
    ],
    ids=repr,
)
def test_a_request_that_fails_for_a_server_drops_it(error: BaseException) -> None:
    errors.append(error)
    response = Client(raise_request_exception=False).get("/sync/")
    assert response.status_code == 500
    assert peek_verdict() is None


async def test_so_does_one_that_is_served_asynchronously() -> None:
    errors.append(OperationalError())
    response = await AsyncClient(raise_request_exception=False).get("/async/")
    assert response.status_code == 500
    assert peek_verdict() is None


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), ProgrammingError(), redis.ResponseError(), TimeoutError()]
)
def test_another_failure_says_nothing(error: BaseException) -> None:
    errors.append(error)
    Client(raise_request_exception=False).get("/sync/")
    assert peek_verdict() is not None


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert list(losses._causes(first)) == [first, second]
    got_request_exception.send(sender=None)  # with no exception at all
    assert peek_verdict() is not None


# The channel


def test_a_server_that_dies_drops_it_through_the_channel(lost: list[str]) -> None:
    with EmbeddedServer() as own:
        cache = tiered(own.url)
        cache.get("k")
        get_verdict()
        assert (peek_verdict() is not None, lost) == (True, [])
        own.kill()
        wait_until(lambda: peek_verdict() is None)
        assert len(lost) == 1
        assert lost[0].startswith("channel lost: ConnectionError")
        wait_until(lambda: cache.tier.channel.connects == 1 and not cache.tier.channel.is_up)
        assert len(lost) == 1  # not for each try to connect anew


def test_each_loss_is_told_of_once(lost: list[str], url: str, admin: redis.Redis) -> None:
    cache = tiered(url)
    for times in (1, 2):
        kill_channels(admin)
        wait_until(lambda times=times: len(lost) == times)
        assert cache.tier.wait_ready(30)


def test_what_the_process_cuts_itself_is_no_loss_and_a_later_loss_is(
    lost: list[str], url: str, admin: redis.Redis
) -> None:
    with redis.Redis.from_url(url) as client:
        channel = Channel(client.connection_pool, "tests")
        first, second = Listener(client, "a:"), Listener(client, "b:")
        channel.subscribe(first)
        first.wait("up")
        channel.subscribe(second)  # the connection is made anew
        second.wait("up")
        assert lost == []
        kill_channels(admin)
        second.wait("up", 2)
        channel.stop()
        assert second.events[-1][0] == "down"
    assert len(lost) == 1


def test_a_server_that_never_answered_is_no_loss(lost: list[str]) -> None:
    with redis.Redis(HOST, 1) as client:
        channel = Channel(client.connection_pool, "tests")
        listener = Listener(client)
        channel.subscribe(listener)
        listener.wait("down", 3)
        channel.stop()
    assert lost == []


@pytest.fixture
def url(server: EmbeddedServer) -> str:
    return server.url
