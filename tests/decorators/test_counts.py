"""What decorated views and verdicts were asked is counted."""

from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory, override_settings

from redis_optimizer.decorators import cached_status
from redis_optimizer.health import get_verdict
from redis_optimizer.health.verdict import drop_verdicts
from redis_optimizer.stats import endpoints
from redis_optimizer.stats.endpoints import Endpoint


@pytest.fixture(autouse=True)
def _fresh() -> None:
    endpoints._reset()


def test_an_answer_that_is_kept_is_a_hit(rf: RequestFactory) -> None:
    @cached_status(vary=None)
    def counted_view(request: HttpRequest) -> dict[str, Any]:
        return {}

    for _ in range(4):
        counted_view(rf.get("/counted/"))
    (seen,) = [each for name, each in endpoints.totals().items() if "counted_view" in name]
    assert seen == {"hits": 3, "runs": 1, "joined": 0, "stale": 0}


@override_settings(REDIS_OPTIMIZER={"HEALTH_CHECKS": []})
def test_a_verdict_that_is_known_is_a_hit() -> None:
    drop_verdicts("a test begins")
    for _ in range(4):
        get_verdict()
    seen = endpoints.counts_of("verdict: health")
    assert seen == Endpoint(hits=3, runs=1)
