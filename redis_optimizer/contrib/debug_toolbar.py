"""A panel for django-debug-toolbar: what a request did with Redis, and what it did not have to do.

::

    DEBUG_TOOLBAR_PANELS = [..., "redis_optimizer.contrib.debug_toolbar.RedisOptimizerPanel"]
"""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from redis_optimizer.cache import registry
from redis_optimizer.cache.measured import measured_in_place
from redis_optimizer.contrib.needs import missing
from redis_optimizer.stats.costs import Costs, current

try:
    from debug_toolbar.panels import Panel
except ImportError as error:
    raise missing(__name__, "django-debug-toolbar", "debug-toolbar") from error

__all__ = ["RedisOptimizerPanel"]


class RedisOptimizerPanel(Panel):
    """Show for each cache the reads that were answered in the process, and the calls to Redis.

    Jobs are those that the request called for and that left together with others, or will. What
    the middleware sends when the response has left the panel behind is among them.
    """

    get_stats: Any
    record_stats: Any
    record_server_timing: Any

    is_async = True
    title = "Redis optimizer"
    template = "redis_optimizer/debug_toolbar.html"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._costs = Costs()
        self._measuring: measured_in_place | None = None

    @property
    def nav_subtitle(self) -> str:
        """What stands below the title in the side bar."""
        stats = self.get_stats()
        if not stats:
            return ""
        hits = ngettext("%(count)s hit", "%(count)s hits", stats["hits"])
        trips = ngettext("%(count)s round trip", "%(count)s round trips", stats["trips"])
        return _("%(hits)s, %(trips)s in %(ms)s ms") % {
            "hits": hits % {"count": stats["hits"]},
            "trips": trips % {"count": stats["trips"]},
            "ms": number_format(stats["ms"], 1),
        }

    def enable_instrumentation(self) -> None:
        """Begin to measure; the middleware of the package, which does so as well, goes on."""
        if self._measuring is None:
            self._costs = Costs(outer=current(), by_store={})
            self._measuring = measured_in_place(self._costs)
            self._measuring.__enter__()

    def disable_instrumentation(self) -> None:
        """Measure no more."""
        measuring, self._measuring = self._measuring, None
        if measuring is not None:
            measuring.__exit__(None, None, None)

    def generate_stats(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Keep what was measured, as the toolbar stores it."""
        costs = self._costs
        rows: dict[str, Costs] = {}
        for store, part in (costs.by_store or {}).items():
            row = rows.setdefault(_name(store), Costs())
            row.hits += part.hits
            row.trips += part.trips
            row.seconds += part.seconds
        self.record_stats(
            {
                "hits": costs.hits,
                "trips": costs.trips,
                "ms": 1000 * costs.seconds,
                "jobs": costs.jobs,
                "caches": [
                    {"name": name, "hits": row.hits, "trips": row.trips, "ms": 1000 * row.seconds}
                    for name, row in sorted(rows.items())
                ],
            }
        )

    def generate_server_timing(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Say how long it waited for Redis, in the header that browsers show."""
        self.record_server_timing("redis", "Redis", self.get_stats().get("ms", 0))


def _name(store: Any) -> str:
    """Return the aliases of the caches that have a store; those with equal settings share one."""
    for tier in registry.tiers():
        if tier.store is store:
            return ", ".join(registry.aliases_of(tier))
    return _("(without a tier)")
