"""Turn queued envelopes into plain messages, which any worker can run.

Nothing is lost or doubled when this is killed at any point, or runs beside workers and others of
its kind. It reads an envelope where it is; one script then takes that very envelope out and puts
its jobs into their queue. If somebody else has taken it meanwhile, the script does nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from celery import Celery

from redis_optimizer.tasks import progress
from redis_optimizer.tasks.envelope import batch_queue, read
from redis_optimizer.tasks.lists import Lists, broker_lists
from redis_optimizer.tasks.message import Message

__all__ = ["Exploded", "explode"]

# LREM finds it wherever it is by now, from the end that workers take from. Lua's unpack() has its
# limits, so the jobs go in by parts.
REPLACE: Final = """
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then return 0 end
for first = 2, #ARGV, 1000 do
    redis.call('LPUSH', KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
return 1
"""


@dataclass(slots=True)
class Exploded:
    """What was done: the number of envelopes, of their jobs, and of those that are unreadable."""

    envelopes: int = 0
    jobs: int = 0
    unreadable: int = 0
    is_complete: bool = True


def explode(
    app: Celery,
    queue: str,
    *,
    seconds: float | None = None,
    priority: int | None = None,
    report: Callable[[Exploded], Any] | None = None,
) -> Exploded:
    """Turn the envelopes that are queued for a queue into plain messages in it.

    Args:
        app: Whose broker.
        queue: The jobs' queue.
        seconds: Stop after this time; None is when there are none.
        priority: Only those of this step; None for all.
        report: Called after each envelope.

    Returns:
        What was done. Envelopes that cannot be read stay where they are.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    done = Exploded()
    ends = None if seconds is None else monotonic() + seconds
    with broker_lists(app) as lists:
        if lists is None:
            return done
        for step in lists.steps if priority is None else [priority]:
            _explode_list(app, lists, (queue, step), done, ends, report)
    return done


def _explode_list(
    app: Celery,
    lists: Lists,
    place: tuple[str, int],
    done: Exploded,
    ends: float | None,
    report: Callable[[Exploded], Any] | None,
) -> None:
    queue, step = place
    source, target = lists.key(batch_queue(queue), step), lists.key(queue, step)
    script = lists.client.register_script(REPLACE)
    index = -1  # from the end that workers take from, past what cannot be read
    while True:
        content: Any = lists.client.lindex(source, index)
        if content is None:
            return
        if ends is not None and monotonic() > ends:
            done.is_complete = False
            return
        try:
            jobs = _jobs(app, lists, content)
        except ValueError:
            done.unreadable += 1
            index -= 1
            continue
        if script([source, target], [content, *map(lists.write, jobs)]):
            done.envelopes += 1
            done.jobs += len(jobs)
        if report is not None:
            report(done)


def _jobs(app: Celery, lists: Lists, content: bytes) -> list[Message]:
    """Return the jobs of an envelope that are to be done.

    Raises:
        ValueError: it cannot be read.
    """
    message = lists.read(content)
    jobs = read(message.body, message.content_type, message.content_encoding)
    if jobs.unsound:  # alone, such a job would end the worker that gets it
        raise ValueError("it has jobs that only an envelope may hold")
    if not message.headers.get("redelivered"):
        return list(jobs)
    finished = progress.load(app, lists.client, str(message.headers.get("id")), len(jobs))
    return [job for index, job in enumerate(jobs) if index not in finished]
