"""OpenTelemetry reads what was counted when it collects."""

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Sum

from redis_optimizer.contrib.opentelemetry import observe
from redis_optimizer.stats.metrics import METRICS
from redis_optimizer.stats.registry import registry


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    counted = {
        "caches": {"default": {"hits": 7, "bytes": 100}, "other": {"hits": 2}},
        "commands": {"by": {"cache": 3}, "avoided_by": {"jobs": 4}},
    }
    monkeypatch.setattr(registry, "totals", lambda: counted)
    reader = InMemoryMetricReader()
    observe(MeterProvider([reader]).get_meter("test"))
    return reader


def collect(reader: InMemoryMetricReader) -> dict[str, Any]:
    data = reader.get_metrics_data()
    assert data is not None
    (resource,) = data.resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


def values(metric: Any) -> dict[str, float]:
    return {"".join(point.attributes.values()): point.value for point in metric.data.data_points}


def test_counters_are_sums_that_only_grow(reader: InMemoryMetricReader) -> None:
    seen = collect(reader)
    hits = seen["redis_optimizer.cache_hits"]
    assert isinstance(hits.data, Sum)
    assert hits.data.is_monotonic
    assert hits.description == METRICS["cache_hits"].text
    assert values(hits) == {"default": 7, "other": 2}
    assert values(seen["redis_optimizer.commands_sent"]) == {"cache": 3}
    assert values(seen["redis_optimizer.commands_avoided"]) == {"jobs": 4}


def test_what_is_there_now_is_a_gauge_with_its_unit(reader: InMemoryMetricReader) -> None:
    kept = collect(reader)["redis_optimizer.cache_bytes"]
    assert isinstance(kept.data, Gauge)
    assert (kept.unit, values(kept)) == ("By", {"default": 100, "other": 0})


def test_it_is_read_anew_each_time(
    reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect(reader)
    monkeypatch.setattr(registry, "totals", lambda: {"results": {"stored": 5}})
    assert values(collect(reader)["redis_optimizer.results_stored"]) == {"": 5}


def test_the_global_provider_is_taken_where_none_is_given() -> None:
    observe()  # without a provider OpenTelemetry does nothing
