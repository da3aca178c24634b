"""Tasks that record in which trace they run; ``CANVAS_TRACER`` names the module that traces."""

from contextlib import nullcontext
from importlib import import_module

from celery import shared_task
from django.conf import settings

from redis_optimizer.tasks import OptimizedTask, batch
from tests.tasks.site import runs

tracer = import_module(settings.CANVAS_TRACER)


def run(self, number):
    runs.record(self.request.id, " ".join(tracer.current()))


alone = shared_task(bind=True, base=OptimizedTask, name="alone")(run)
batched = shared_task(bind=True, base=OptimizedTask, name="batched", batch_size=3)(run)
BLOCKS = {"alone": nullcontext, "batched": nullcontext, "block": batch}


def produce(way):
    """Send jobs inside a span.

    Returns:
        The trace, the producer's spans by job, or in order if they do not say of which, and
        whether the caller's span was still the current one after each call.
    """
    task = batched if way == "batched" else alone
    kept, results = [], []
    with tracer.span() as trace, BLOCKS[way]():
        before = tracer.here()
        for number in range(6):
            results.append(task.delay(number))
            kept.append(tracer.here() == before)
    return {"trace": trace, "jobs": [result.id for result in results], "kept": kept} | {
        "spans": tracer.sent()
    }
