"""Signals that the package sends."""

from django.dispatch import Signal

__all__ = ["job_deduplicated", "jobs_lost", "server_lost", "switched"]

jobs_lost = Signal()
"""Jobs could not be sent and are given up, because their process ends.

``ids``: the ids of the jobs; ``tasks``: the name of each one's task.
"""

job_deduplicated = Signal()
"""A call was not sent, for another job stands for it. Sent in the process of the call.

``task``: the name of the task; ``id``: the id that its job would have had; ``existing_id``: that of
the job that stands for it.
"""

server_lost = Signal()
"""A server that this process relied on does not answer any more: its connection was lost, or a
command failed. Sent from whatever thread noticed it; receivers must be quick, and not raise.

``reason``: what was seen, in a few words.
"""

switched = Signal()
"""A part was switched on or off for this process. Sent from the thread that heard of it, which also
hears of writes; receivers must be quick, and not raise.

``part``: see `redis_optimizer.switches.PARTS`; ``on``: whether it is on now; ``by``: who said so.
"""
