"""A collector for prometheus_client: what was counted, where Prometheus scrapes the site anyway.

::

    from prometheus_client import REGISTRY
    from redis_optimizer.contrib.prometheus import Collector

    REGISTRY.register(Collector())
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from redis.exceptions import RedisError

from redis_optimizer.contrib.needs import missing
from redis_optimizer.stats.gather import TIMEOUT, gather
from redis_optimizer.stats.metrics import METRICS, PREFIX, Metric, labels_of, samples_of
from redis_optimizer.stats.registry import registry

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector as BaseCollector
except ImportError as error:
    raise missing(__name__, "prometheus-client", "prometheus") from error

__all__ = ["Collector"]

logger = logging.getLogger("redis_optimizer.stats")

Family = CounterMetricFamily | GaugeMetricFamily

_ASKED: Final = {
    "up": Metric("gauge", "Whether the processes could be asked."),
    "processes": Metric("gauge", "Processes that answered."),
    "processes_silent": Metric("gauge", "Channels of processes that did not answer."),
    "gather_commands": Metric("gauge", "Commands that this scrape took."),
}


class Collector(BaseCollector):
    """Collect what this process counted, or what all processes of the site did.

    The names are those of ``redis_optimizer_stats --prometheus``. To tell of this process alone
    costs nothing. To ask all costs what `redis_optimizer.stats.gather` does, for each scrape: let
    one process do it, where Prometheus cannot reach each by itself, as behind gunicorn.

    Args:
        everywhere: Ask all processes that have a channel; each is told of by itself. Where they
            cannot be asked ``redis_optimizer_up`` is 0, and the scrape goes on.
        timeout: Seconds to wait for those that do not answer.
    """

    def __init__(self, *, everywhere: bool = False, timeout: float = TIMEOUT) -> None:
        self._everywhere = everywhere
        self._timeout = timeout

    def describe(self) -> list[Family]:
        """Return the metrics without their values, so that to register costs nothing."""
        metrics = {**METRICS, **_ASKED} if self._everywhere else METRICS
        return [_family(name, metric, {}) for name, metric in metrics.items()]

    def collect(self) -> Iterator[Family]:
        """Return the metrics that there are now."""
        families: dict[str, Family] = {}
        for name, metric, labels, value in self._ask() if self._everywhere else _own():
            if name not in families:
                families[name] = _family(name, metric, labels)
            families[name].add_metric(list(labels.values()), value)
        yield from families.values()

    def _ask(self) -> "Iterator[Told]":
        try:
            gathered = gather(self._timeout)
        except (RedisError, OSError, LookupError) as error:
            logger.warning("The processes could not be asked what they counted: %s", error)
            yield "up", _ASKED["up"], {}, 0
            return
        numbers = {
            "up": 1,
            "processes": len(gathered.processes),
            "processes_silent": gathered.missing,
            "gather_commands": gathered.commands,
        }
        for name, value in numbers.items():
            yield name, _ASKED[name], {}, value
        for process in gathered.processes:
            yield from _told(process.totals, labels_of(process.facts))


Told = tuple[str, Metric, Mapping[str, str], float]


def _own() -> Iterator[Told]:
    return _told(registry.totals(), {})


def _told(totals: Mapping[str, Any], who: Mapping[str, str]) -> Iterator[Told]:
    for name, labels, value in samples_of(totals):
        yield name, METRICS[name], {**who, **labels}, value


def _family(name: str, metric: Metric, labels: Mapping[str, str]) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(f"{PREFIX}_{name}", metric.text, labels=list(labels))
