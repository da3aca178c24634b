"""Jobs that raise MemoryError, which Celery does not acknowledge."""

import gc
import weakref
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks.exhausted import settling
from tests.missing import go_without
from tests.servers import wait_until
from tests.tasks.ground import WAIT, Ground
from tests.tasks.processes import Worker
from tests.tasks.site import enveloped
from tests.tasks.site.enveloped import make_job, send_envelope


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with EmbeddedServer() as server:
        ground = Ground(tmp_path, server)
        yield ground
        ground.close()


def have_failed(ground: Ground, worker: Worker, *ids: str) -> None:
    """Wait until jobs have failed, and nothing is left of their envelope."""
    for identity in ids:
        with pytest.raises(MemoryError):
            ground.get(identity)
    ground.wait_done()
    assert worker.process.poll() is None


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_those_that_go_to_the_pool_singly_are_settled(ground: Ground, pool: str) -> None:
    if pool == "gevent" and find_spec("gevent") is None:
        go_without("gevent is not installed: it comes with the extra [test]")
    with ground.site.worker("-P", pool, "-c", "2") as worker:
        # Those with a limit of their own do not share a place; one that waits has none.
        jobs = [make_job(ground.app, enveloped.exhaust, n, time_limit=60) for n in range(10)]
        jobs.append(make_job(ground.app, enveloped.exhaust, 10, countdown=0.5))
        good = make_job(ground.app, enveloped.double, 4)
        send_envelope(ground.app, *jobs, good)
        assert ground.get(good.id) == 8
        have_failed(ground, worker, *(job.id for job in jobs))


def test_those_that_share_a_place_are_settled(ground: Ground) -> None:
    with ground.site.worker("-c", "2") as worker:

        def have_shared() -> bool:
            bad = ground.send(enveloped.exhaust, *range(20))
            have_failed(ground, worker, *bad)
            return f"{enveloped.exhaust.name}: " in worker.log

        wait_until(have_shared, WAIT)
        (good,) = ground.send(enveloped.double, 4)
        assert ground.get(good) == 8


@pytest.mark.parametrize("events", [(), ("-E",)])
def test_those_of_a_bulk_call_are_settled(ground: Ground, events: tuple[str, ...]) -> None:
    with ground.site.worker("-c", "1", *events) as worker:
        for _ in range(3):
            good, *bad = ground.send(enveloped.sum_up, 1, -6, -6)
            assert ground.get(good) == 10
            have_failed(ground, worker, *bad)


def test_one_that_has_no_result_yet_is_sent_again() -> None:
    class Kind:
        id, name = "a", "task"
        told: list[bool] = []  # noqa: RUF012  # there is one of it

        def on_failure(self, exc_info: object, return_ok: bool = False) -> None:
            raise MemoryError

        def reject(self, requeue: bool) -> None:
            self.told.append(requeue)

    request = Kind()
    request.__class__ = settling(Kind)
    request.on_failure(None)
    assert request.told == [True]


def test_what_settles_goes_with_the_class_that_it_is_of() -> None:
    """Celery makes new ones for each connection to the broker."""

    class Kind:
        pass

    assert settling(Kind) is settling(Kind) is settling(settling(Kind))
    kept = weakref.ref(Kind)
    del Kind
    gc.collect()
    assert kept() is None
