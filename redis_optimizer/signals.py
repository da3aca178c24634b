"""Signals that the package sends."""

from django.dispatch import Signal

__all__ = ["jobs_lost"]

jobs_lost = Signal()
"""Jobs could not be sent and are given up, because their process ends.

``ids``: the ids of the jobs; ``tasks``: the name of each one's task.
"""
