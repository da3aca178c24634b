"""A worker's processes open their channel, so that they are heard when somebody asks for all.

They count the jobs that they run, too.

The main process does it when it is ready, a child at its first job. Where no cache of the site has
a tier, neither opens anything.
"""

import os
from typing import Any, Final

from celery import bootsteps, signals, states
from celery.worker.consumer.tasks import Tasks

from redis_optimizer.stats.process import set_kind
from redis_optimizer.stats.servers import open_channels
from redis_optimizer.tasks.counts import counter

__all__ = ["Presence"]

LOOK: Final = 5.0  # seconds between two looks at whether it is open; they cost no command

_UID: Final = "redis_optimizer.presence"


class Presence(bootsteps.StartStopStep):
    """Keep the channel of the worker's main process open."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        """Begin, when the broker is connected; also after its connection was lost."""
        open_channels()
        # A fork closes it, as when the pool replaces a child: the main process reads nothing that
        # would open it again.
        self._timer = consumer.timer.call_repeatedly(LOOK, open_channels, ())

    def stop(self, consumer: Any) -> None:
        """Stop looking, because the worker stops, or because the broker's connection is lost."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def terminate(self, consumer: Any) -> None:
        """Stop at once, as `stop` does."""
        self.stop(consumer)


_main = 0  # the id of the worker's main process


def _add(sender: Any, **kwargs: Any) -> None:
    global _main
    _main = os.getpid()
    set_kind("worker")
    sender.app.steps["consumer"].add(Presence)
    # The children of a pool inherit it.
    signals.task_postrun.connect(_count_run, dispatch_uid=_UID)


def _count_run(sender: Any, state: str | None = None, **kwargs: Any) -> None:
    counter.run(sender.name, failed=state == states.FAILURE)


def _begin_child(**kwargs: Any) -> None:
    if os.getpid() == _main:  # a solo pool, which has no children, says so all the same
        return
    set_kind("worker child")
    signals.task_prerun.connect(_open_once, dispatch_uid=_UID)


def _open_once(**kwargs: Any) -> None:
    signals.task_prerun.disconnect(dispatch_uid=_UID)
    open_channels()


signals.worker_init.connect(_add, dispatch_uid=_UID)
signals.worker_process_init.connect(_begin_child, dispatch_uid=_UID)
