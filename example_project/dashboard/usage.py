"""How often an organisation's page was viewed: counted by a job, shown from the cache."""

import logging

from django.core.cache import cache
from django.utils import timezone
from kombu.exceptions import OperationalError

from .models import UsageDay
from .tasks import record_usage

TTL = 10  # seconds that a page may show an older count

logger = logging.getLogger(__name__)


def count_view(organisation: int) -> None:
    """Have one view of an organisation's page counted; a page is shown even if that fails."""
    try:
        record_usage.delay(organisation, today())
    except OperationalError:
        logger.exception("A page view is not counted.")


def views_today(organisation: int) -> int:
    """Return how often an organisation's page was viewed today, as of some seconds ago."""
    views: int = cache.get_or_set(f"views:{organisation}", lambda: load_views(organisation), TTL)
    return views


def load_views(organisation: int) -> int:
    """Read the count of today from the database."""
    rows = UsageDay.objects.filter(organisation=organisation, day=today())
    return rows.values_list("views", flat=True).first() or 0


def today() -> str:
    """Return the day in UTC, in ISO format."""
    return timezone.now().date().isoformat()
