"""What this process counted, as instruments of an OpenTelemetry meter.

::

    from redis_optimizer.contrib.opentelemetry import observe

    observe()  # once in a process, where the site sets up OpenTelemetry
"""

from collections.abc import Callable, Iterable

from redis_optimizer import __version__
from redis_optimizer.contrib.needs import missing
from redis_optimizer.stats.metrics import METRICS, PREFIX, samples_of
from redis_optimizer.stats.registry import registry

try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
except ImportError as error:
    raise missing(__name__, "opentelemetry-api", "opentelemetry") from error

__all__ = ["observe"]


def observe(meter: Meter | None = None) -> None:
    """Make an instrument for each metric. They are read when OpenTelemetry collects, not before.

    Each process tells of itself: which it is says the site's resource, as in
    ``service.instance.id``. The names are those of ``redis_optimizer_stats --prometheus`` with a
    dot after ``redis_optimizer``.

    Args:
        meter: Makes the instruments; None: that of the global provider.
    """
    meter = get_meter(PREFIX, __version__) if meter is None else meter
    for name, metric in METRICS.items():
        make = (
            meter.create_observable_counter
            if metric.kind == "counter"
            else meter.create_observable_gauge
        )
        make(f"{PREFIX}.{name}", [_reader(name)], unit=metric.unit, description=metric.text)


def _reader(name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def read(options: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(sample.value, sample.labels)
            for sample in samples_of(registry.totals())
            if sample.name == name
        ]

    return read
