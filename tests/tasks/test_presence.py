"""A worker's processes are heard when somebody asks for all: where a cache has a tier."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery, signals

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.stats import process
from redis_optimizer.stats.gather import ask
from redis_optimizer.stats.messages import Question
from redis_optimizer.tasks import presence
from redis_optimizer.tasks.presence import LOOK, Presence
from tests.cache.caches import channels, counted
from tests.servers import wait_until
from tests.tasks.consumer import Consumer
from tests.tasks.processes import Site
from tests.tasks.site import budget
from tests.tasks.site.enveloped import make_job, send_envelope

WAIT = 60  # seconds


@pytest.fixture
def kinds(server: EmbeddedServer) -> Iterator[Callable[[], list[str]]]:
    """Return what asks all processes and returns their kinds."""
    with redis.Redis(HOST, server.port) as client:

        def gather() -> list[str]:
            gathered = ask(Question(), 2, through=[client.connection_pool])
            return [each.facts["kind"] for each in gathered.processes]

        yield gather


@pytest.fixture
def totals(server: EmbeddedServer) -> Iterator[Callable[[], dict[str, Any]]]:
    """Return what asks all processes and returns what they counted, by kind."""
    with redis.Redis(HOST, server.port) as client:

        def gather() -> dict[str, Any]:
            gathered = ask(Question(), 2, through=[client.connection_pool])
            return {each.facts["kind"]: each.totals for each in gathered.processes}

        yield gather


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    app = Celery("p", broker=f"redis://{HOST}:{server.port}/0", set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    monkeypatch.setattr(presence, "open_channels", lambda: calls.append("open"))
    monkeypatch.setattr(process, "_kind", None)
    return calls


def caches(url: str) -> dict[str, Any]:
    backend = {"BACKEND": "redis_optimizer.cache.TieredCache", "LOCATION": url, "KEY_PREFIX": "t"}
    return {"CACHES": {"default": backend}}


def send(app: Celery, number: int) -> None:
    for _ in range(number):
        app.send_task("tests.tasks.site.basic.plain")


def test_a_main_process_is_heard_when_ready_and_a_child_after_its_first_job(
    make_site: Callable[..., Site],
    app: Celery,
    kinds: Callable[[], list[str]],
    totals: Callable[[], dict[str, Any]],
    server: EmbeddedServer,
) -> None:
    site = make_site(tasks=["tests.tasks.site.basic"], settings=caches(server.url))
    with site.worker("-c", "1", "--max-tasks-per-child", "2"):
        wait_until(lambda: kinds() == ["worker"], WAIT)
        send(app, 1)
        wait_until(lambda: kinds() == ["worker", "worker child"], WAIT)
        counted = wait_until(lambda: _ran(totals(), 1), WAIT)
        tasks = counted["worker child"]["jobs"]["tasks"]
        assert tasks == {"tests.tasks.site.basic.plain": {"ran": 1}}
        assert counted["worker"]["jobs"]["ran"] == 0
        assert counted["worker"]["commands"]["by"]["broker"] > 0
        assert counted["worker"]["connections"]["by"]["broker"] > 0
        send(app, 1)  # its last: another child takes its place, and has run nothing
        wait_until(lambda: kinds() == ["worker"], WAIT)
        send(app, 1)
        wait_until(lambda: kinds() == ["worker", "worker child"], WAIT)


def test_a_solo_worker_is_its_main_process(
    make_site: Callable[..., Site],
    app: Celery,
    kinds: Callable[[], list[str]],
    server: EmbeddedServer,
) -> None:
    site = make_site(tasks=["tests.tasks.site.basic"], settings=caches(server.url))
    with site.worker("-P", "solo") as worker:
        send(app, 1)
        worker.wait_log(" succeeded ")
        wait_until(lambda: kinds() == ["worker"], WAIT)


def test_jobs_of_an_envelope_are_counted_one_by_one(
    make_site: Callable[..., Site],
    app: Celery,
    totals: Callable[[], dict[str, Any]],
    server: EmbeddedServer,
) -> None:
    site = make_site(tasks=["tests.tasks.site.budget"], settings=caches(server.url))
    with site.worker("-P", "solo"):
        send_envelope(app, *(make_job(app, budget.together, number) for number in range(10)))
        jobs = wait_until(lambda: _ran(totals(), 10), WAIT)["worker"]["jobs"]
    assert (jobs["opened"], jobs["unpacked"], jobs["failed"]) == (1, 10, 0)
    assert jobs["tasks"] == {budget.together.name: {"ran": 10}}


def _ran(totals: dict[str, Any], number: int) -> dict[str, Any]:
    return totals if sum(each["jobs"]["ran"] for each in totals.values()) == number else {}


def test_where_no_cache_has_a_tier_nothing_is_opened(
    make_site: Callable[..., Site], app: Celery, admin: redis.Redis
) -> None:
    site = make_site(tasks=["tests.tasks.site.basic"])
    with site.worker("-c", "1") as worker:
        send(app, 1)
        worker.wait_log(" succeeded ")
        assert channels(admin) == []


def test_it_looks_now_and_then_whether_the_channel_is_open(
    app: Celery, opened: list[str], admin: redis.Redis
) -> None:
    consumer = Consumer(app)
    step = Presence(consumer)
    step.start(consumer)
    assert (opened, consumer.seconds) == (["open"], LOOK)
    with counted(admin) as calls:
        consumer.tick()
    assert (len(opened), calls) == (2, {})
    step.stop(consumer)
    step.terminate(consumer)
    assert consumer.cancelled == 1
    consumer.connection.release()


def test_a_child_opens_it_once(opened: list[str]) -> None:
    presence._begin_child()
    assert process.facts()["kind"] == "worker child"
    for _ in range(3):
        signals.task_prerun.send(None)
    assert opened == ["open"]
