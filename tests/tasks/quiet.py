"""Workers that wait long for jobs, and what they are seen to wait for."""

from typing import Any

import redis

from redis_optimizer.connections import celery_settings
from tests.servers import wait_until

TASKS = "tests.tasks.site.quiet"


def worker_settings(profile: str = "metered", url: str = "", **settings: Any) -> dict[str, Any]:
    """Return the settings of a profile, as JSON can hold them.

    Args:
        profile: Its name.
        url: The broker; "" is that of the site.
        settings: Added to them.
    """
    given = celery_settings(url or "redis://h", profile, results=None)
    options = given["CELERY_BROKER_TRANSPORT_OPTIONS"]
    options.pop("socket_keepalive_options", None)  # its keys are numbers
    options.pop("socket_timeout", None)  # it would end the wait, too, though not as gently
    if not url:
        del given["CELERY_BROKER_URL"]
    return given | settings


def waiting(admin: redis.Redis) -> list[str]:
    """Return the ids of the connections that wait for jobs."""
    clients: list[dict[str, str]] = admin.client_list()
    return [client["id"] for client in clients if client["cmd"] == "brpop"]


def wait_for_wait(admin: redis.Redis) -> str:
    """Wait until a worker waits for jobs and return the id of the connection."""
    found: list[str] = wait_until(lambda: waiting(admin))
    return found[0]


def next_wait(admin: redis.Redis) -> float:
    """End a worker's wait for jobs, and return how long it then waits for the next."""
    with admin.monitor() as monitor:
        admin.client_unblock(wait_for_wait(admin))
        for entry in monitor.listen():
            words = str(entry["command"]).split()
            if words[0] == "BRPOP":
                return float(words[-1])
    raise AssertionError
