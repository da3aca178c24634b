"""What can be seen of a site's jobs: gathered once, or made by a test. Needs no Celery."""

from dataclasses import dataclass, field

__all__ = ["Broker", "Kept", "Taken", "Worker"]


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker that sent a heartbeat.

    Args:
        name: What it calls itself.
        every: Seconds between two of its heartbeats.
    """

    name: str
    every: float


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A message that a worker has taken and not acknowledged, with the time that its job is due.

    Args:
        task: The name of its task.
        wait: Seconds from when it was taken until it is due.
    """

    task: str
    wait: float


@dataclass(frozen=True, kw_only=True)
class Broker:
    """What the broker shows of workers and of jobs.

    Args:
        database: Its number.
        workers: Those whose heartbeats were heard.
        events: Messages that told of jobs.
        seconds: For which was listened.
        monitors: What listens to events.
        gossips: Workers that listen to each other.
        equipped: Workers with redis_optimizer that say that they are alive; None: unknown.
        due: Messages that workers hold until their time has come.
    """

    database: int = 0
    workers: tuple[Worker, ...] = ()
    events: int = 0
    seconds: float = 0.0
    monitors: int = 0
    gossips: int = 0
    equipped: int | None = None
    due: tuple[Taken, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Some of the results that are in Redis.

    Args:
        seen: How many were looked at.
        old: Those that were stored a minute ago or earlier.
        unread: Those of them that nobody has read since.
        endless: Those that never expire.
    """

    seen: int = 0
    old: int = 0
    unread: int = 0
    endless: int = 0
