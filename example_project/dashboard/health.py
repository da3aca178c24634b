"""One verdict on the database and the cache, kept for a minute."""

import logging
import secrets
from typing import TypedDict

from django.core.cache import cache
from django.db import DatabaseError, connection

KEY = "health"
TTL = 60  # seconds
PROBE_TTL = 10

logger = logging.getLogger(__name__)


class Verdict(TypedDict):
    """Whether each part of the system works."""

    ok: bool
    database: bool
    cache: bool


def health() -> tuple[Verdict, bool]:
    """Return the verdict on the system, and whether it came from the cache."""
    try:
        verdict = cache.get(KEY)
    except Exception:  # whatever the cache raises is what is being judged here
        logger.exception("The cache cannot be read.")
        return judge(database=database_works(), cache=False), False
    if verdict is not None:
        return verdict, True
    verdict = judge(database=database_works(), cache=cache_works())
    if verdict["cache"]:
        cache.set(KEY, verdict, TTL)
    return verdict, False


def judge(*, database: bool, cache: bool) -> Verdict:
    """Return the verdict: all is well when every part is."""
    return Verdict(ok=database and cache, database=database, cache=cache)


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
    except Exception:  # as in health()
        logger.exception("The cache does not answer.")
        return False
