"""Prometheus scrapes what was counted, through prometheus_client."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from redis_optimizer.contrib import prometheus
from redis_optimizer.contrib.prometheus import Collector
from redis_optimizer.management.stats.prometheus import as_prometheus
from redis_optimizer.stats import gather
from redis_optimizer.stats.metrics import METRICS
from tests.cache.caches import keep
from tests.stats.processes import Reader, readers

ALL = {"timeout": 20.0, "everywhere": True}


@pytest.fixture(scope="module")
def site(server: object) -> Iterator[list[Reader]]:
    with readers(2) as started:
        yield started


def scrape(**options: Any) -> dict[str, Any]:
    """Return the samples of a scrape, by name and sorted labels."""
    registry = CollectorRegistry()
    registry.register(Collector(**options))
    text = generate_latest(registry).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_this_process_tells_of_itself_and_asks_nobody(
    server: object, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(prometheus, "gather", lambda *args: pytest.fail("asked"))
    default = settings.CACHES["default"] | {"OPTIONS": {"L1": {"START_AFTER": 0}}}
    settings.CACHES = {"default": default}
    site: Any = caches["default"]
    assert site.tier.wait_ready(10)
    keep(site, {"a": 1})
    before = scrape()
    site.get("a")
    after = scrape()
    hits = "redis_optimizer_cache_hits_total", ("cache", "default")
    assert after[hits] == before[hits] + 1
    assert after["redis_optimizer_commands_avoided_total", ("by", "caches")] >= 1
    assert after["redis_optimizer_commands_sent_total", ("purpose", "cache")] >= 1
    assert after["redis_optimizer_connections", ("purpose", "channel")] >= 1


def test_all_processes_are_told_of_one_by_one(site: list[Reader]) -> None:
    seen = scrape(**ALL)
    hits = {
        dict(labels)["pid"]: value
        for (name, *labels), value in seen.items()
        if name == "redis_optimizer_cache_hits_total"
    }
    assert hits.keys() >= {str(reader.pid) for reader in site}
    assert all(hits[str(reader.pid)] >= 100 for reader in site)
    assert seen["redis_optimizer_up",] == 1
    assert seen["redis_optimizer_processes",] >= 2
    assert seen["redis_optimizer_processes_silent",] == 0


def test_the_names_and_labels_are_those_of_the_command(site: list[Reader]) -> None:
    text = as_prometheus(gather(20))
    told = {
        (sample.name, *sorted(sample.labels.items()))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert scrape(**ALL).keys() - {("redis_optimizer_up",)} == told


def test_a_scrape_goes_on_where_nobody_can_be_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(timeout: float) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(prometheus, "gather", refuse)
    assert scrape(everywhere=True) == {("redis_optimizer_up",): 0}
    assert "refused" in caplog.text


@pytest.mark.parametrize("everywhere", [True, False])
def test_to_register_it_counts_and_asks_nothing(
    everywhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Collector, "collect", lambda self: pytest.fail("collected"))
    registry = CollectorRegistry(auto_describe=True)
    registry.register(Collector(everywhere=everywhere))
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(Collector())
    assert len(Collector().describe()) == len(METRICS)


@pytest.mark.parametrize(
    ("module", "blocked", "library", "extra"),
    [
        ("prometheus", "prometheus_client", "prometheus-client", "prometheus"),
        ("opentelemetry", "opentelemetry", "opentelemetry-api", "opentelemetry"),
        ("debug_toolbar", "debug_toolbar", "django-debug-toolbar", "debug-toolbar"),
    ],
)
def test_without_its_library_a_module_says_what_to_install(
    module: str, blocked: str, library: str, extra: str
) -> None:
    program = f"""
import sys
sys.modules[{blocked!r}] = None
import django; django.setup()
from django.core.exceptions import ImproperlyConfigured
try:
    import redis_optimizer.contrib.{module}
except ImproperlyConfigured as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == (
        f"redis_optimizer.contrib.{module} needs {library}, which is not installed: "
        f'pip install "redis-optimizer[{extra}]".\n'
    ), done.stderr
