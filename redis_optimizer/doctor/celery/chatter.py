"""What workers say to the broker that nobody needs."""

from collections.abc import Iterator
from typing import Final

from redis_optimizer.doctor.celery.measures import (
    METERED_WAIT,
    POLLING,
    QUICK,
    advise,
    count_workers,
    gain,
    jobs_of,
    join_names,
    polls,
    taken,
    waiting,
)
from redis_optimizer.doctor.evidence import Evidence
from redis_optimizer.doctor.findings import (
    DAY,
    Examination,
    Found,
    Severity,
    examination,
    per_day,
)

__all__ = ["EXAMINATIONS"]

SELDOM: Final = 10.0
"""Seconds between two heartbeats from which on they are not worth a word: 6 commands a minute."""

GOSSIP: Final = 2.2
"""Commands a minute that an idle worker sends less without gossip: PINGs and looks of one more
connection."""

EVENTS_OF_JOB: Final = 1.5
"""PUBLISHes of a worker for a job, with ``-E``: received, started, succeeded; some travel
together."""

SENT_EVENT: Final = 1.0
"""PUBLISHes of a producer for a job, with ``task_send_sent_event``."""

MINUTES: Final = DAY // 60  # of a day

HALF: Final = 0.5


@examination(
    "idle-polling",
    Severity.WARNING,
    "A worker that has nothing to do asks for a job each second. One command may wait for a minute "
    "instead: a job that comes ends the wait at once.",
)
def idle_polling(evidence: Evidence) -> Iterator[Found]:
    jobs = jobs_of(evidence)
    if jobs is None:
        return
    workers, rate = waiting(jobs), polls(jobs)
    # Half of them, at least: of those that wait longer some have just asked by chance.
    if not workers or rate < workers * HALF / POLLING:
        return
    quick = waiting(jobs, within=QUICK)
    saves = per_day(max(rate - quick / METERED_WAIT, 0))
    yield Found(
        what=f"{count_workers(workers)} at {jobs.server.address} asked for a job {rate:.2f} times "
        "a second and got none.",
        change=advise(
            jobs.app,
            'CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 4}; a worker takes as long to '
            "stop.",
        ),
        saves=saves,
        arithmetic=f"({rate:.2f} BRPOP/s without a job - {quick} / {METERED_WAIT:g} s that stay) "
        f"x {DAY:,} s = {saves:,.0f}",
    )


@examination(
    "heartbeats",
    Severity.WARNING,
    "A heartbeat is a PUBLISH for monitors such as Flower. Nothing else needs it, but for gossip, "
    "which needs nothing but itself.",
)
def heartbeats(evidence: Evidence) -> Iterator[Found]:
    jobs = jobs_of(evidence)
    if jobs is None or jobs.broker.monitors:
        return
    often = [worker for worker in jobs.broker.workers if worker.every < SELDOM]
    if not often:
        return
    rate = sum(1 / worker.every for worker in often)
    yield Found(
        what=f"{count_workers(len(often))} sent heartbeats, and no monitor listens: "
        f"{join_names([worker.name for worker in often])}.",
        change=advise(
            jobs.app, "celery worker --without-heartbeat --without-gossip --without-mingle"
        ),
        saves=per_day(rate),
        arithmetic=f"{rate:.2f} heartbeats/s, as {len(often)} sent them, x {DAY:,} s "
        f"= {per_day(rate):,.0f}",
    )


@examination(
    "gossip",
    Severity.WARNING,
    "Workers that gossip hear each other's events, for elections and clocks that Celery itself "
    "does not use. That takes two connections of each, and every heartbeat goes to every worker.",
)
def gossip(evidence: Evidence) -> Iterator[Found]:
    jobs = jobs_of(evidence)
    if jobs is None:
        return
    # What killed workers left is among the bindings.
    workers = min(jobs.broker.gossips, waiting(jobs))
    if not workers:
        return
    yield Found(
        what=f"{count_workers(workers)} at {jobs.server.address} gossip.",
        change=advise(jobs.app, "celery worker --without-gossip --without-mingle"),
        saves=workers * GOSSIP * MINUTES,
        arithmetic=f"{workers} x {GOSSIP} commands a minute, as measured of one that is idle, "
        f"x {MINUTES:,} = {workers * GOSSIP * MINUTES:,.0f}",
    )


@examination(
    "job-events",
    Severity.WARNING,
    "An event of a job is a PUBLISH for monitors such as Flower; each job has several.",
)
def job_events(evidence: Evidence) -> Iterator[Found]:
    jobs = jobs_of(evidence)
    if jobs is None or jobs.broker.monitors:
        return
    conf, broker = jobs.app.conf, jobs.broker
    names = [
        name for name in ("worker_send_task_events", "task_send_sent_event") if getattr(conf, name)
    ]
    if broker.events and broker.seconds:
        rate, each, source = broker.events / broker.seconds, 1.0, "events heard"
    elif names:
        rate, source = taken(jobs.server), "jobs"
        each = EVENTS_OF_JOB * bool(conf.worker_send_task_events)
        each += SENT_EVENT * bool(conf.task_send_sent_event)
    else:
        return
    saves, arithmetic = gain(evidence, rate, source, each)
    settings = [f"CELERY_{name.upper()} is True" for name in names]
    shown = " and ".join(settings) or "Workers send events of jobs"
    yield Found(
        what=f"{shown}, and no monitor listens.",
        change="Leave these settings False, and -E out of the workers' command line. A monitor can "
        "switch the workers' events on while it runs: celery control enable_events.",
        saves=saves,
        arithmetic=arithmetic,
    )


EXAMINATIONS: Final[tuple[Examination, ...]] = (
    idle_polling,
    heartbeats,
    gossip,
    job_events,
)
