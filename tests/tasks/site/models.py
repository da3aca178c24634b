"""Tasks that are called with a model of Pydantic and are deduplicated."""

from celery import shared_task
from pydantic import BaseModel

from redis_optimizer.tasks import DedupTask
from tests.tasks.site import runs


class Order(BaseModel):
    number: int
    note: str = ""


def one(order):
    return order.number


@shared_task(bind=True, base=DedupTask, pydantic=True)
def once(self, order: Order):
    runs.record(self.request.id, f"{order.number} {order.note}")


@shared_task(
    bind=True, base=DedupTask, pydantic=True, dedup="debounce", dedup_ttl=0.5, dedup_on=one
)
def debounced(self, order: Order):
    runs.record(self.request.id, f"{order.number} {order.note}")
