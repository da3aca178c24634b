"""Signals that the package sends."""

from django.dispatch import Signal

__all__ = ["job_deduplicated", "jobs_lost"]

jobs_lost = Signal()
"""Jobs could not be sent and are given up, because their process ends.

``ids``: the ids of the jobs; ``tasks``: the name of each one's task.
"""

job_deduplicated = Signal()
"""A call was not sent, for another job stands for it. Sent in the process of the call.

``task``: the name of the task; ``id``: the id that its job would have had; ``existing_id``: that of
the job that stands for it.
"""
