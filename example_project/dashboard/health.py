"""One verdict on the database and the cache."""

import logging
import secrets
from typing import TypedDict

from django.core.cache import cache
from django.db import DatabaseError, connection

PROBE_TTL = 10  # seconds

logger = logging.getLogger(__name__)


class Verdict(TypedDict):
    """Whether each part of the system works."""

    ok: bool
    database: bool
    cache: bool


def judge() -> Verdict:
    """Return the verdict: all is well when every part is."""
    database, cached = database_works(), cache_works()
    return Verdict(ok=database and cached, database=database, cache=cached)


def database_works() -> bool:
    """Tell whether the database answers a query."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone() == (1,))
    except DatabaseError:
        logger.exception("The database does not answer.")
        return False


def cache_works() -> bool:
    """Tell whether a value that is written can be read back and removed."""
    # A key of its own, so that two processes that probe at once do not remove each other's.
    key = f"health-probe:{secrets.token_hex(8)}"
    try:
        cache.set(key, "there", PROBE_TTL)
        return cache.get(key) == "there" and bool(cache.delete(key))
    except Exception:  # whatever the cache raises is what is being judged here
        logger.exception("The cache does not answer.")
        return False
