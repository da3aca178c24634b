"""The tasks of `results`, in a process where the grace and the pauses are short."""

from redis_optimizer.tasks.results import retention, rows
from tests.tasks.site.results import *  # noqa: F403

retention.GRACE = 1
rows.PAUSE = 0
