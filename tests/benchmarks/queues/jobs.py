"""The job, as each library has it; the environment says which. Producers and workers use it."""

import os
import time
from collections.abc import Callable
from typing import Any

KIND, URL, LEDGER = (os.environ[f"QUEUE_{name}"] for name in ("KIND", "URL", "LEDGER"))
BATCH = 100  # jobs: of celery-batches and of ours
LOCK = 600  # seconds that one who is never done keeps its duplicates out


def note(number: int) -> None:
    """Note that the job ran: one write, which others do not tear apart."""
    _note([number])


def _note(numbers: list[int]) -> None:
    now = time.monotonic()
    lines = "".join(f"{number} {now}\n" for number in numbers).encode()
    ledger = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(ledger, lines)
    finally:
        os.close(ledger)


def note_all(jobs: Any) -> None:
    """Note that the jobs of a batch ran."""
    _note([job.args[0] for job in jobs])


def celery_app(**settings: Any) -> Any:
    from celery import Celery

    made = Celery("queues", broker=URL)
    made.conf.update(task_ignore_result=True, **settings)
    return made


def plain() -> Callable[[int], Any]:
    return app.task(name="note")(note).delay


def batches() -> Callable[[int], Any]:
    from celery_batches import Batches

    options = {"base": Batches, "flush_every": BATCH, "flush_interval": 1}
    return app.task(name="note", **options)(note_all).delay


def singleton() -> Callable[[int], Any]:
    from celery_singleton import Singleton

    return app.task(name="note", base=Singleton, lock_expiry=LOCK)(note).delay


def once() -> Callable[[int], Any]:
    from celery_once import QueueOnce

    app.conf.ONCE = {
        "backend": "celery_once.backends.Redis",
        "settings": {"url": URL, "default_timeout": LOCK},
    }
    return app.task(name="note", base=QueueOnce, once={"graceful": True})(note).delay


def optimized() -> Callable[[int], Any]:
    from redis_optimizer.tasks import OptimizedTask

    options: dict[str, Any] = {"batch_size": BATCH}
    if KIND == "ours-dedup":
        options = {"dedup": "until_executed", "dedup_ttl": LOCK}
    elif KIND == "ours-bulk":
        options["bulk"] = True
    function = note_all if KIND == "ours-bulk" else note
    return app.task(name="note", base=OptimizedTask, acks_late=True, **options)(function).delay


def optimized_app() -> Any:
    import django
    from celery import Celery
    from django.conf import settings

    from redis_optimizer.connections import celery_settings

    settings.configure(
        INSTALLED_APPS=["redis_optimizer"],
        SECRET_KEY="of-a-site-that-nobody-visits",
        USE_TZ=True,
        CELERY_TASK_IGNORE_RESULT=True,
        **celery_settings(URL, profile="metered"),  # as README has it
    )
    django.setup()
    made = Celery("queues")
    made.config_from_object("django.conf:settings", namespace="CELERY")
    return made


if KIND in ("celery", "celery-batches", "celery-singleton", "celery-once"):
    # celery-batches collects no more than a worker may take at once.
    app = celery_app(worker_prefetch_multiplier=BATCH if KIND == "celery-batches" else 4)
    makers = {
        "celery": plain,
        "celery-batches": batches,
        "celery-singleton": singleton,
        "celery-once": once,
    }
    send = makers[KIND]()
elif KIND.startswith("ours"):
    app = optimized_app()
    send = optimized()
elif KIND == "rq":
    from functools import partial

    import redis
    from rq import Queue

    queue = Queue(connection=redis.Redis.from_url(URL))
    send = partial(queue.enqueue, note, result_ttl=0)
elif KIND == "huey":
    from huey import RedisHuey

    huey = RedisHuey("queues", url=URL, results=False)
    send = huey.task()(note)
elif KIND == "dramatiq":
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    dramatiq.set_broker(RedisBroker(url=URL))
    send = dramatiq.actor(note).send
