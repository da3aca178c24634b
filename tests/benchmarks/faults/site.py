"""The site: what its users do, each by a function that returns what they see in a word or two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import django
from django.conf import settings

from redis_optimizer.connections import celery_settings
from tests.admin.site import PAGE
from tests.admin.site import SETTINGS as ADMIN

TIMEOUT = 1  # seconds; as docs/outages.rst has it
L1 = {"STALE_IF_ERROR": 600, "HEARTBEAT": 1, "MAX_STALENESS": 3, "START_AFTER": 0}
PROBLEMS = b"ro-problem"


class Where(NamedTuple):
    """Where the site finds Redis.

    Attributes:
        cache: LOCATION of the cache.
        options: Its OPTIONS beside the tier's.
        broker: URL of the broker.
        transport: Its transport options.
    """

    cache: str
    options: Mapping[str, Any]
    broker: str
    transport: Mapping[str, Any]


def configure(where: Where, folder: Path) -> None:
    """Set up Django, with a user, and Celery."""
    settings.configure(
        SECRET_KEY="only-for-a-benchmark",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(folder / "site.sqlite3"),
                "OPTIONS": {"timeout": 20},
            }
        },
        CACHES={
            "default": {
                "BACKEND": "redis_optimizer.cache.TieredCache",
                "LOCATION": where.cache,
                "KEY_PREFIX": "site",
                "OPTIONS": {
                    "SOCKET_TIMEOUT": TIMEOUT,
                    "SOCKET_CONNECT_TIMEOUT": TIMEOUT,
                    **where.options,
                    "L1": L1,
                },
            }
        },
        REDIS_OPTIMIZER={"BREAKER_AFTER": 3},
        # What is lost is told of by the table.
        LOGGING={"version": 1, "root": {"level": "CRITICAL", "handlers": []}},
        **{**ADMIN, "ROOT_URLCONF": "tests.benchmarks.faults.urls"},
        **celery_settings(where.broker, "metered", results=None, transport_options=where.transport),
    )
    import celery  # noqa: F401  # before Django, as a site's own package does

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def nothing(number: int) -> None:
    """Be a job: no worker runs it."""


class Site:
    """The site in this process."""

    def __init__(self) -> None:
        from celery import Celery
        from django.contrib.auth.models import User
        from django.core.cache import caches
        from django.test import Client

        from redis_optimizer.tasks import OptimizedTask

        self.cache: Any = caches["default"]
        self.app = Celery("faults", set_as_current=True)
        self.app.config_from_object("django.conf:settings", namespace="CELERY")
        self.app.set_default()
        self.batched = self.app.task(
            nothing, name="batched", base=OptimizedTask, batch_size=100, acks_late=True
        )
        self.once = self.app.task(nothing, name="once", base=OptimizedTask, dedup="until_executed")
        self.anybody, self.staff = Client(), Client()
        self.staff.force_login(User.objects.create_superuser("ann"))
        self.taken: list[str] = []
        """The ids of the jobs that were taken."""

    @property
    def acts(self) -> dict[str, Callable[[], str]]:
        """What users do, by the titles of the columns."""
        return dict(
            zip(
                TITLES,
                (self.read, self.write, self.call, self.call_once, self.ready, self.look),
                strict=True,
            )
        )

    def begin(self) -> None:
        """Fill the cache, and wait until it keeps what it reads."""
        if not self.cache.tier.wait_ready(30):
            raise SystemExit("The tier did not become ready.")
        self.cache.set("hot", "value", 3600)

    def read(self) -> str:
        return self.cache.get("hot", "nothing")

    def write(self) -> str:
        self.cache.set("other", 1)
        return "written"

    def call(self) -> str:
        self.taken.append(self.batched.delay(0).id)
        return "taken"

    def call_once(self) -> str:
        self.taken.append(self.once.delay(len(self.taken)).id)
        return "taken"

    def ready(self) -> str:
        return str(self.anybody.get("/ready/").status_code)

    def look(self) -> str:
        response = self.staff.get(PAGE)
        told = ", which says so" if PROBLEMS in response.content else ""
        return f"{response.status_code}{told}"


TITLES = ("Read", "Write", "Job", "Job, once", "/ready/", "Admin page")
GOOD = ("value", "written", "taken", "taken", "200", "200")
"""What users see while Redis answers."""
