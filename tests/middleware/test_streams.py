"""What a response sends while it streams leaves together, when it ends or has gone on for long."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
import redis
from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory

from redis_optimizer.middleware import RedisOptimizerMiddleware
from redis_optimizer.tasks import block
from tests.servers import wait_until
from tests.tasks.queues import ids

from . import site
from .site import Served, aserve

Give = Callable[[Callable[[], Any]], None]


@pytest.fixture(autouse=True)
def _patient(settings: Any) -> None:
    """Let no test depend on how long it takes."""
    settings.REDIS_OPTIMIZER = {"BATCH_TIMEOUT": 600}


@pytest.fixture
def give(task: Any, monkeypatch: pytest.MonkeyPatch) -> Give:
    """Let the view send a job and respond with what is given."""

    def give(content: Callable[[], Any]) -> None:
        def answer(request: HttpRequest) -> HttpResponseBase:
            task.delay()
            return StreamingHttpResponse(content())

        monkeypatch.setattr(site, "answer", answer)

    return give


def sending(task: Any, *, fails: bool = False) -> Iterator[bytes]:
    """Stream three parts, with a job before each."""
    for part in (b"1", b"2", b"3"):
        task.delay()
        yield part
    if fails:
        raise LookupError


async def asending(task: Any, *, fails: bool = False) -> AsyncIterator[bytes]:
    for part in sending(task, fails=fails):
        await asyncio.sleep(0)
        yield part


# WSGI


def test_jobs_leave_when_the_stream_ends(task: Any, give: Give, admin: redis.Redis) -> None:
    give(lambda: sending(task))
    served = Served("/given/")
    assert len(ids(admin)) == 1  # the view's left before the response
    parts = iter(served.response)
    assert [next(parts) for _ in range(3)] == [b"1", b"2", b"3"]
    assert len(ids(admin)) == 1
    assert list(parts) == []
    assert len(ids(admin)) == 4
    served.response.close()
    assert len(ids(admin)) == 4


def test_they_leave_when_the_client_goes_away(task: Any, give: Give, admin: redis.Redis) -> None:
    give(lambda: sending(task))
    served = Served("/given/")
    next(iter(served.response))
    served.response.close()
    assert len(ids(admin)) == 2


def test_they_leave_when_the_stream_fails(task: Any, give: Give, admin: redis.Redis) -> None:
    give(lambda: sending(task, fails=True))
    with pytest.raises(LookupError):
        list(Served("/given/").response)
    assert len(ids(admin)) == 4


def test_nothing_stays_between_two_steps(task: Any, give: Give, admin: redis.Redis) -> None:
    give(lambda: sending(task))
    served = Served("/given/")
    parts = iter(served.response)
    for _ in range(3):
        next(parts)
        assert block.current() is None
    task.delay()  # of the same thread, but not of the stream
    assert len(ids(admin)) == 2
    served.response.close()


def test_two_streams_in_one_thread_do_not_mix(task: Any, give: Give, admin: redis.Redis) -> None:
    give(lambda: sending(task))
    one, two = Served("/given/"), Served("/given/")
    first, second = iter(one.response), iter(two.response)
    next(first), next(second), next(second)
    one.response.close()
    assert len(ids(admin)) == 3
    two.response.close()
    assert len(ids(admin)) == 5


def test_a_stream_that_goes_on_does_not_hold_its_jobs(
    task: Any, give: Give, admin: redis.Redis, settings: Any
) -> None:
    settings.REDIS_OPTIMIZER = {"BATCH_TIMEOUT": 0.01}
    give(lambda: sending(task))
    served = Served("/given/")
    next(iter(served.response))
    wait_until(lambda: len(ids(admin)) == 2)
    served.response.close()


def test_a_job_called_for_after_the_end_is_sent_at_once(
    task: Any, give: Give, admin: redis.Redis
) -> None:
    give(lambda: map(bytes, sending(task)))  # which nobody can close
    served = Served("/given/")
    parts = iter(served.response)
    next(parts)
    served.response.close()
    assert len(ids(admin)) == 2
    next(parts)
    assert len(ids(admin)) == 3


def test_an_asynchronous_stream_may_be_served_by_wsgi(
    task: Any, give: Give, admin: redis.Redis
) -> None:
    give(lambda: asending(task))
    served = Served("/given/")
    with pytest.warns(Warning, match="asynchronous iterators"):
        assert list(served.response) == [b"1", b"2", b"3"]
    assert len(ids(admin)) == 4
    served.response.close()


# ASGI


async def receive_parts(communicator: Any, count: int) -> list[bytes]:
    return [(await communicator.receive_output(10))["body"] for _ in range(count)]


async def test_jobs_leave_when_an_asynchronous_stream_ends(
    task: Any, give: Give, admin: redis.Redis
) -> None:
    go = asyncio.Event()

    async def content() -> AsyncIterator[bytes]:
        async for part in asending(task):
            yield part
        assert len(ids(admin)) == 1
        await go.wait()

    give(content)
    communicator = await aserve("/agiven/")
    assert (await communicator.receive_output(10))["status"] == 200
    assert await receive_parts(communicator, 3) == [b"1", b"2", b"3"]
    assert len(ids(admin)) == 1
    go.set()
    assert (await communicator.receive_output(10)).get("body", b"") == b""
    assert len(ids(admin)) == 4
    await communicator.wait(60)


async def test_they_leave_when_its_client_goes_away(
    task: Any, give: Give, admin: redis.Redis
) -> None:
    async def content() -> AsyncIterator[bytes]:
        async for part in asending(task):
            yield part
        await asyncio.Event().wait()

    give(content)
    communicator = await aserve("/agiven/")
    await communicator.receive_output(10)
    await receive_parts(communicator, 3)
    assert len(ids(admin)) == 1
    await communicator.send_input({"type": "http.disconnect"})
    await communicator.wait(60)
    assert len(ids(admin)) == 4


async def test_they_leave_when_it_fails(task: Any, give: Give, admin: redis.Redis) -> None:
    give(lambda: asending(task, fails=True))
    communicator = await aserve("/agiven/")
    await communicator.receive_output(10)
    await receive_parts(communicator, 3)
    with pytest.raises(LookupError):
        await communicator.wait(60)
    assert len(ids(admin)) == 4


async def test_a_stream_of_an_ordinary_iterator_is_collected_too(
    task: Any, give: Give, admin: redis.Redis
) -> None:
    give(lambda: sending(task))
    communicator = await aserve("/agiven/")
    with pytest.warns(Warning, match="synchronous iterators"):
        await communicator.wait(60)
    await communicator.receive_output(10)
    assert await receive_parts(communicator, 3) == [b"1", b"2", b"3"]
    assert len(ids(admin)) == 4


async def test_each_step_may_be_taken_by_a_task_of_its_own(
    task: Any, admin: redis.Redis, rf: RequestFactory
) -> None:
    async def view(request: Any) -> StreamingHttpResponse:
        return StreamingHttpResponse(asending(task))

    response: Any = await RedisOptimizerMiddleware(view)(rf.get("/"))  # type: ignore[misc]
    parts = aiter(response)
    for _ in range(3):
        await asyncio.create_task(anext(parts))
        assert block.current() is None
    assert ids(admin) == []
    with contextlib.suppress(StopAsyncIteration):
        await asyncio.create_task(anext(parts))
    assert len(ids(admin)) == 3


async def test_what_a_step_starts_belongs_to_the_stream(
    task: Any, admin: redis.Redis, rf: RequestFactory
) -> None:
    async def call() -> None:
        await asyncio.to_thread(task.delay)

    async def content() -> AsyncIterator[bytes]:
        await asyncio.gather(call(), call())
        yield b"done"
        assert ids(admin) == []

    async def view(request: Any) -> StreamingHttpResponse:
        return StreamingHttpResponse(content())

    response: Any = await RedisOptimizerMiddleware(view)(rf.get("/"))  # type: ignore[misc]
    assert [part async for part in response] == [b"done"]
    assert len(ids(admin)) == 2


# What is left alone


def test_a_file_is_sent_by_the_server_itself(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = BytesIO(b"content")
    monkeypatch.setattr(site, "answer", lambda request: FileResponse(file))
    wrapped: list[Any] = []
    served = Served("/given/", **{"wsgi.file_wrapper": lambda *args: wrapped.append(args)})
    assert served.headers["Content-Length"] == "7"
    ((sent, size),) = wrapped
    assert (sent, size) == (file, 4096)
    file.close()


@pytest.mark.parametrize("options", [{"BATCH_REQUESTS": False}, {"ENABLED": False}])
def test_it_can_be_switched_off(
    task: Any, give: Give, admin: redis.Redis, settings: Any, options: dict[str, bool]
) -> None:
    settings.REDIS_OPTIMIZER = options
    give(lambda: sending(task))
    served = Served("/given/")
    next(iter(served.response))
    assert len(ids(admin)) == 2
    served.response.close()
