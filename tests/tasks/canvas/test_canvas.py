"""Ours does what plain Celery does: the table, run through both and compared."""

from collections.abc import Callable
from functools import cache

import pytest

from redis_optimizer.embedded import EmbeddedServer
from tests.tasks.canvas.compare import differences, summarise
from tests.tasks.canvas.recorder import Record, Variant, record

TASK = "redis_optimizer.tasks.OptimizedTask"
LEAN = "redis_optimizer.tasks.results:RedisBackend+redis"
BATCHES = {"batch_size": 5, "batch_timeout": 0.2}
PLAIN = Variant(plain=True)
VARIANTS = {
    "batches": Variant(scheme=LEAN, settings={"CANVAS_BASE": TASK, "CANVAS_OPTIONS": BATCHES}),
    "defaults": Variant(settings={"CANVAS_BASE": TASK}),
    "block": Variant(settings={"CANVAS_BASE": TASK, "CANVAS_BLOCK": True}),
}


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, server: EmbeddedServer
) -> Callable[[Variant, str], Record]:
    """Return a function that runs the table through a variant."""

    def run(variant: Variant, name: str) -> Record:
        return record(tmp_path_factory.mktemp(name) / "site", server.port, variant)

    return run


@pytest.fixture(scope="module")
def plain(run: Callable[[Variant, str], Record]) -> Callable[[], Record]:
    """Return a function that says what was seen with plain Celery, which is run once."""
    return cache(lambda: run(PLAIN, "plain"))


def compare(expected: Record, found: Record) -> None:
    """Fail with every difference between two runs."""
    lines = list(differences(summarise(expected), summarise(found)))
    assert not lines, "\n".join([f"{len(lines)} differences", *lines])


@pytest.mark.slow
@pytest.mark.edges
def test_batched_jobs_with_lean_results_are_as_with_plain_celery(run, plain):
    found = run(VARIANTS["batches"], "batches")
    compare(plain(), found)
    assert found.pushes < plain().pushes  # so some did travel together


@pytest.mark.slow
def test_jobs_of_a_block_are_as_with_plain_celery(run, plain):
    found = run(VARIANTS["block"], "block")
    compare(plain(), found)
    assert found.pushes < plain().pushes


@pytest.mark.slow
def test_jobs_of_a_task_with_the_defaults_are_as_with_plain_celery(run, plain):
    found = run(VARIANTS["defaults"], "defaults")
    compare(plain(), found)
    assert found.pushes == plain().pushes


@pytest.mark.slow
def test_two_runs_of_plain_celery_differ_in_nothing_that_is_compared(run, plain):
    compare(plain(), run(PLAIN, "again"))
