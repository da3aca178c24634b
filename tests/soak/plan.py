"""What a soak does, and what it is held to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """How long, with which faults, and the limits.

    Attributes:
        minutes: With faults; warming up and ending come on top.
        seed: Of the order of the faults, of whom they meet, and of the visitors' choices.
        faults: Their names; all of them come, shuffled, before one comes again.
        every: Seconds from the beginning of a fault to that of the next.
        hold: Seconds that a fault lasts.
        warm_up: Seconds for which many visit the site before the first fault.
        webs: Processes of gunicorn, of four threads each.
        workers: Celery workers, of two children each.
        keys: Of each cache.
        growth: MiB that no process may grow by, from the first third of the run to the last.
        settling: Seconds in which there are no more connections than before, after the last fault.
        patience: Seconds in which the last job has run, and no lock is left, after that.
    """

    minutes: float = 2.0
    seed: int = 1
    faults: tuple[str, ...] = ()
    every: float = 10.0
    hold: float = 3.0
    warm_up: float = 5.0
    webs: int = 4
    workers: int = 2
    keys: int = 16
    growth: float = 8.0
    settling: float = 20.0
    patience: float = 90.0
