"""Ours does what plain Celery does: the table, run through both and compared."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from redis_optimizer.embedded import EmbeddedServer
from tests.tasks.canvas.compare import differences, summarise
from tests.tasks.canvas.recorder import Variant, record

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
) -> Callable[[Variant, str], dict[str, Any]]:
    """Return a function that runs the table through a variant and says what happened."""

    def run(variant: Variant, name: str) -> dict[str, Any]:
        return summarise(record(tmp_path_factory.mktemp(name) / "site", server.port, variant))

    return run


@pytest.fixture(scope="module")
def expected(run: Callable[[Variant, str], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Return a function that says what happens with plain Celery, which is run once."""
    return cache(lambda: run(PLAIN, "plain"))


@pytest.mark.parametrize(
    "name",
    ["batches", *(pytest.param(name, marks=pytest.mark.slow) for name in ("defaults", "block"))],
)
def test_all_that_can_be_seen_of_a_job_is_as_with_plain_celery(name, run, expected):
    found = list(differences(expected(), run(VARIANTS[name], name)))
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_two_runs_of_plain_celery_differ_in_nothing_that_is_compared(run, expected):
    found = list(differences(expected(), run(PLAIN, "again")))
    assert not found, "\n".join(found)
