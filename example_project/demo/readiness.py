"""Included by a worker of the demo: says when it takes jobs."""

import os
from pathlib import Path

from celery.signals import worker_ready

VARIABLE = "EXAMPLE_WORKER_READY"


@worker_ready.connect
def say_ready(**kwargs: object) -> None:
    """Make the file that the demo waits for."""
    if path := os.environ.get(VARIABLE):
        Path(path).touch()
