"""A site that the doctor looks at: real servers and settings, and a clock of the test's own."""

from collections.abc import Callable, Mapping
from typing import Any

from celery import Celery
from django.test import override_settings

from redis_optimizer.doctor import Evidence, Finding, Report, examine, look
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.stats.gathered import Gathered, Process

TIERED = "redis_optimizer.cache.TieredCache"
PLAIN = "django_redis.cache.RedisCache"


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


def cache_on(
    server: EmbeddedServer, *, backend: str = TIERED, database: int = 0, **settings: Any
) -> dict[str, Any]:
    """Return the settings of an alias."""
    location = f"redis://127.0.0.1:{server.port}/{database}"
    return {"BACKEND": backend, "LOCATION": location, "KEY_PREFIX": "t"} | settings


def watch(
    during: Callable[[], Any] = lambda: None, *, seconds: float = 10, **settings: Any
) -> Evidence:
    """Look at the site that has these settings.

    Args:
        during: What happens while the servers are watched.
        seconds: How long that takes, by the doctor's clock.
        settings: Of Django.
    """
    clock = Clock()

    def sleep(length: float) -> None:
        during()
        clock.at += length

    with override_settings(**settings):
        return look(seconds, sleep=sleep, now=clock)


def diagnose(during: Callable[[], Any] = lambda: None, **settings: Any) -> Report:
    """Look, and examine what was seen under the same settings."""
    with override_settings(**settings):
        return examine(watch(during))


def found(report: Report, id: str) -> list[Finding]:
    """Return the findings of a kind."""
    return [each for each in report.findings if each.id == id]


def one(report: Report, id: str) -> Finding:
    """Return the only finding of a kind."""
    (finding,) = found(report, id)
    return finding


def is_free_of(report: Report, *ids: str) -> bool:
    """Tell whether nothing of these kinds was found, and nothing went wrong in looking for it."""
    broken = [words for words in report.unknown if words.startswith(ids)]
    return not broken and not any(found(report, id) for id in ids)


def process(id: str = "a", host: str = "one", **totals: Any) -> Process:
    """Return what a process answered."""
    return Process({"id": id, "host": host, "pid": 1, "kind": "web"}, totals, None, 0.0)


def counted(**cache: Any) -> Gathered:
    """Return what one process counted for the default cache."""
    return Gathered([process(caches={"default": cache})])


def app_on(broker: EmbeddedServer, *, database: int = 0, **settings: Mapping[str, Any]) -> Celery:
    """Return a Celery app, which is the current one then."""
    app = Celery("doctor", broker=f"redis://127.0.0.1:{broker.port}/{database}")
    app.conf.update(settings)
    return app
