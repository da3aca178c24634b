"""Tell the commands of the cache from those of jobs."""

from collections import Counter

from redis_optimizer.channel import CLIENT_NAME
from redis_optimizer.management.benchmark.wire import CONNECTING, Counts


def split(counts: Counts, name: str) -> tuple[Counter[str], Counter[str]]:
    """Return what was sent for the cache, and what was sent for jobs.

    Args:
        counts: of the whole site.
        name: of the site; its settings give the cache's connections a name that begins with it.
    """
    cache: Counter[str] = Counter()
    for client, sent in counts.clients.items():
        if client.name.startswith((f"{name}:cache", CLIENT_NAME)):
            cache.update({word: n for word, n in sent.items() if word not in CONNECTING})
    return cache, counts.commands - cache
