"""Signals that the package sends."""

from django.dispatch import Signal

__all__ = [
    "batch_flushed",
    "cache_cleared",
    "cache_invalidated",
    "job_deduplicated",
    "jobs_lost",
    "server_found",
    "server_lost",
    "switched",
]

cache_invalidated = Signal()
"""Keys were written, here or elsewhere, or have expired, and this process let go of their values.
Sent from the thread that hears of it, as long as somebody listens; receivers must be quick.

``aliases``: of the caches that keep such keys; ``keys``: a list of them, as Redis has them; None:
all may have changed, as after FLUSHDB.
"""

cache_cleared = Signal()
"""This process let go of all that its caches keep.

``reason``: "written", as after its own ``clear()`` or ``delete_pattern()``; "asked", because an
operator had all processes do so.
"""

batch_flushed = Signal()
"""A batch of jobs has left the process. Sent from the thread that sent it, before it sends another
one; receivers must be quick.

``task``: the name of the task, "" for a batch of several; ``jobs``: how many they were;
``reason``: why it left, "size", "bytes", "age", "asked" or "exit".
"""

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
"""A server that this process relied on does not answer any more, as its connection was lost, or a
command failed. Sent from whatever thread noticed it; receivers must be quick.

``reason``: what was seen, in a few words.
"""

switched = Signal()
"""A part was switched on or off for this process. Sent from the thread that heard of it, which also
hears of writes; receivers must be quick.

``part``: see `redis_optimizer.switches.PARTS`; ``on``: whether it is on now; ``by``: who said so.
"""

server_found = Signal()
"""A server that the caches had stopped asking answers again, see ``BREAKER_AFTER``. Sent from
whatever thread noticed it; receivers must be quick.

``server``: where it is; ``seconds``: how long it was not asked.
"""
