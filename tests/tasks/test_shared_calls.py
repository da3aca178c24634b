"""Quick jobs of an ordinary task, which go to a process of the pool several at a time."""

from collections.abc import Iterator

import pytest
from celery.exceptions import TaskRevokedError, WorkerLostError

from redis_optimizer.embedded import EmbeddedServer
from tests.servers import wait_until
from tests.tasks.ground import WAIT, Ground
from tests.tasks.processes import Worker
from tests.tasks.site import enveloped


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with EmbeddedServer() as server:
        ground = Ground(tmp_path_factory.mktemp("site"), server)
        yield ground
        ground.close()


@pytest.fixture(scope="module")
def shared(ground: Ground) -> Iterator[Worker]:
    """Run the worker that these tests share, which knows by now how quick the task is."""
    with ground.site.worker("-c", "2") as worker:

        def is_known() -> bool:
            ground.send(enveloped.quick, *range(100))
            ground.wait_done()
            return f"{enveloped.quick.name}: " in worker.log

        wait_until(is_known, WAIT)
        yield worker


@pytest.mark.usefixtures("shared")
class TestJobs:
    def test_each_has_its_result_and_its_line(self, ground: Ground, shared: Worker) -> None:
        ids = ground.send(enveloped.quick, *range(100))
        assert [ground.get(identity) for identity in ids] == list(range(100))
        ground.wait_done()
        assert all(shared.log.count(f"[{identity}] succeeded in") == 1 for identity in ids)

    def test_one_that_fails_does_so_alone(self, ground: Ground) -> None:
        ids = ground.send(enveloped.quick, *range(50), -3, *range(50))
        assert [ground.get(identity) for identity in ids[51:]] == list(range(50))
        with pytest.raises(KeyError):
            ground.get(ids[50])
        ground.wait_done()

    def test_one_that_kills_the_child_fails_alone(self, ground: Ground) -> None:
        ids = ground.send(enveloped.quick, *range(20), -1, *range(20))
        assert [ground.get(identity) for identity in ids[21:]] == list(range(20))
        with pytest.raises(WorkerLostError):
            ground.get(ids[20])
        ground.wait_done()
        assert [ground.get(identity) for identity in ids[:20]] == list(range(20))
        assert ground.notes(ids[20]) in (["kill"], ["kill", "kill"])

    def test_those_behind_a_slow_one_are_done_as_well(self, ground: Ground) -> None:
        ids = ground.send(enveloped.quick, *range(10), -4, *range(80))
        assert [ground.get(identity) for identity in ids[11:]] == list(range(80))
        ground.wait_done()

    def test_one_that_runs_can_be_terminated(self, ground: Ground) -> None:
        ids = ground.send(enveloped.quick, *range(20), -2, *range(20))
        ground.wait_notes(ids[20], "begun")
        ground.app.control.revoke(ids[20], terminate=True)
        ground.wait_done()
        with pytest.raises(TaskRevokedError):
            ground.get(ids[20])
        assert [ground.get(identity) for identity in ids[21:]] == list(range(20))
        assert ground.notes(ids[20]) == ["begun"]

    def test_those_that_are_acknowledged_early_go_alone(
        self, ground: Ground, shared: Worker
    ) -> None:
        # Another that is lost with its child would be lost for good.
        for _ in range(3):
            ground.send(enveloped.early, *range(100))
        ground.wait_done()
        assert f"{enveloped.early.name}[" in shared.log
        assert f"{enveloped.early.name}: " not in shared.log
