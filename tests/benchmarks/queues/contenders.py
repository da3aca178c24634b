"""Who is compared, and how its worker of two processes is started."""

from collections.abc import Sequence
from dataclasses import dataclass

JOBS = "tests.benchmarks.queues.jobs"
CELERY = ("-m", "celery", "-A", JOBS, "worker", "--concurrency", "2", "--loglevel", "ERROR")
RQ = ("-m", "rq.cli", "worker-pool", "--num-workers", "2", "--quiet")


@dataclass(frozen=True)
class Contender:
    """One queue.

    Args:
        title: for people.
        worker: what Python runs; RQ's takes the server's URL after it.
        environment: the requirements that it needs; None is this environment.
    """

    title: str
    worker: Sequence[str] = CELERY
    environment: str | None = None


CONTENDERS = {
    "ours": Contender("OptimizedTask, batches of 100"),
    "ours-bulk": Contender("OptimizedTask, batches of 100, bulk"),
    "ours-dedup": Contender("OptimizedTask, dedup"),
    "celery": Contender("Celery"),
    "celery-batches": Contender("celery-batches, 100 at once", environment="celery-batches"),
    "celery-singleton": Contender("celery-singleton", environment="celery-singleton"),
    "celery-once": Contender("celery-once", environment="celery-once"),
    "rq": Contender("RQ", RQ, "rq"),
    "huey": Contender(
        "Huey",
        ("-m", "huey.bin.huey_consumer", f"{JOBS}.huey", "-w", "2", "-k", "process", "-q"),
        "huey",
    ),
    "dramatiq": Contender(
        "Dramatiq", ("-m", "dramatiq", JOBS, "--processes", "2", "--threads", "1"), "dramatiq"
    ),
}
