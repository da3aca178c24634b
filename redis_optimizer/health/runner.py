"""Run checks side by side, each within its deadline, and report what came of them."""

import functools
import time
from collections.abc import Callable, Iterable
from math import inf
from typing import Final

from redis_optimizer.core.forks import around_fork
from redis_optimizer.health.base import Check
from redis_optimizer.health.examine import describe, examine, worst
from redis_optimizer.health.report import Report, Result
from redis_optimizer.health.threads import Job, Threads

__all__ = ["run_checks"]

Clock = Callable[[], float]

_threads: Final = Threads()


def run_checks(
    checks: Iterable[Check],
    timeout: float,
    default_timeout: float,
    *,
    since: float = -inf,
    now: Clock = time.monotonic,
    clock: Clock = time.time,
) -> Report:
    """Run all checks, and return once each has ended or has had its time.

    A check that another run began a moment ago is waited for, not begun again. One that hangs is
    from then on reported without waiting, and attempted anew after 30 s.

    Args:
        checks: What to run; their names tell them apart.
        timeout: Seconds for all together.
        default_timeout: Seconds for one that does not say.
        since: What began before this time, by ``now``, is not waited for.
        now: Clock in seconds; must be monotonic.
        clock: Seconds since the epoch.

    Returns:
        A result for each check, in their order.
    """
    began, checked_at = now(), clock()
    jobs: list[tuple[Check, Job]] = []
    for check in checks:
        limit = min(default_timeout if check.timeout is None else check.timeout, timeout)
        work = functools.partial(examine, check, now, clock)
        jobs.append((check, _threads.take(check.name, work, began, limit, since)[0]))
    results = []
    for check, job in jobs:
        if job.began < since or job.due <= began:
            seconds = began - job.began
            result = _failed(check, seconds, clock, f"still running after {seconds:.0f} s")
        else:
            result = _wait(check, job, min(job.due, began + timeout), now, clock)
        results.append(result)
    return Report(results, now() - began, checked_at)


def _wait(check: Check, job: Job, until: float, now: Clock, clock: Clock) -> Result:
    try:
        result: Result = job.future.result(max(until - now(), 0))
    except TimeoutError:
        seconds = until - job.began
        return _failed(check, seconds, clock, f"timed out after {seconds:.3g} s")
    except Exception as error:  # its thread could not start
        return _failed(check, 0, clock, describe(error))
    return result


def _failed(check: Check, seconds: float, clock: Clock, error: str) -> Result:
    return Result(check.name, check.component, worst(check), seconds, clock(), error=error)


around_fork(after_in_child=_threads.reset)
