"""What the processes of one site are told: it travels in the environment."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "REDIS_OPTIMIZER_BENCHMARK"
SECONDS = 1.0  # that a job of the task "slow" takes
SETTINGS = "redis_optimizer.management.benchmark.jobs.settings"


@dataclass(frozen=True)
class Order:
    """One process of a site.

    Args:
        url: of its server.
        directory: where the site's processes leave what others of them read.
        plain: Celery and django-redis as they come.
        profile: of `celery_settings`; without effect on a plain site.
        batch_size: jobs in one envelope.
    """

    url: str
    directory: str
    plain: bool
    profile: str
    batch_size: int

    @property
    def ledger(self) -> Path:
        """Return the file of the jobs that ran."""
        return Path(self.directory, "ledger")

    @property
    def ready(self) -> Path:
        """Return the file that a worker makes when it takes jobs."""
        return Path(self.directory, "ready")

    def environment(self) -> dict[str, str]:
        """Return what a process has to find in its environment."""
        return {
            VARIABLE: json.dumps(asdict(self)),
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            "REDIS_OPTIMIZER_ENABLED": "1",  # whatever the shell says that this was started from
        }


def read_order() -> Order:
    """Return what this process was told."""
    return Order(**json.loads(os.environ[VARIABLE]))
