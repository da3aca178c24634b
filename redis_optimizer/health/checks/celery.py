"""Celery's broker and its workers, where the site has loaded Celery and the broker is Redis.

Celery is imported by what runs, not by this module: a site without it need not load it.
"""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

from redis_optimizer.conf import get_settings
from redis_optimizer.health.base import Check, Degraded, Observed
from redis_optimizer.health.report import Observation

__all__ = ["Broker", "NoWorkers", "Workers"]

SHOWN: Final = 20
"""Queues whose depths are observed: the fullest."""


@dataclass(frozen=True, kw_only=True)
class CeleryCheck(Check):
    """A check of the broker of a Celery app; left to itself, of the current one.

    Args:
        app: Its app.
    """

    critical: bool = False
    app: Any = field(default=None, repr=False)

    @classmethod
    def instances(cls, **options: Any) -> Iterable[Self]:
        """Return one check, where the site uses Celery with a broker on Redis."""
        if "celery" not in sys.modules:
            return []
        from celery.app import app_or_default

        from redis_optimizer.tasks.asking import is_redis

        # Now: each thread has a current app of its own, and a check runs in one that has none.
        app = app_or_default(options.pop("app", None))
        return [cls(app=app, **options)] if is_redis(app) else []

    @property
    def seconds(self) -> float:
        """The seconds that an answer may take."""
        return get_settings().HEALTH_CHECK_TIMEOUT if self.timeout is None else self.timeout


@dataclass(frozen=True, kw_only=True)
class Broker(CeleryCheck):
    """The broker answers, and what is queued is not too much.

    Counted are the messages in the queues that the app knows; an envelope is one message, however
    many jobs it holds.

    Args:
        max_depth: How many messages one queue may hold. None: any number.
    """

    component: ClassVar[str] = "datastore"

    max_depth: int | None = None

    def run(self) -> Observed:
        """Count what is queued, in one round trip.

        Raises:
            Degraded: when a queue holds more than it may.
            kombu.exceptions.OperationalError: when the broker does not answer.
        """
        from redis_optimizer.tasks.depths import measure

        depths = measure(self.app, self.seconds)
        fullest = sorted(depths.queues.items(), key=lambda queue: -queue[1])
        observed = {
            **{name: Observation(n, "messages") for name, n in fullest[:SHOWN]},
            "unacked": Observation(depths.unacked, "messages"),
        }
        name, most = fullest[0] if fullest else ("", 0)
        if self.max_depth is not None and most > self.max_depth:
            raise Degraded(f"{most} messages are queued in {name}.", observed)
        return observed


class NoWorkers(Exception):
    """Fewer workers are heard of than there should be."""


@dataclass(frozen=True, kw_only=True)
class Workers(CeleryCheck):
    """Workers are alive: they say so in Redis, and are not asked.

    Args:
        minimum: How many there should be.
    """

    minimum: int = 1

    @classmethod
    def instances(cls, **options: Any) -> Iterable[Self]:
        """Return one check, unless ``ENABLED`` is False: then workers say nothing."""
        return super().instances(**options) if get_settings().ENABLED else []

    def run(self) -> Observed:
        """Look who has been heard of.

        Raises:
            NoWorkers: when there are too few.
            kombu.exceptions.OperationalError: when the broker does not answer.
        """
        from redis_optimizer.tasks.heartbeat import hear

        heard = hear(self.app, self.seconds)
        since = None if heard.last is None else max(0.0, time.time() - heard.last)
        if heard.workers < self.minimum:
            last = "never" if since is None else f"{since:.0f} s ago"
            raise NoWorkers(
                f"{heard.workers} workers are alive, {self.minimum} should be; the last word of "
                f"one came {last}."
            )
        observed = {"workers": Observation(heard.workers, "workers")}
        return observed if since is None else {**observed, "last_word": Observation(since, "s")}
