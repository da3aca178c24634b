"""Tasks that need nothing of redis_optimizer."""

from celery import shared_task

from tests.tasks.site import runs


@shared_task(bind=True)
def plain(self, number=0):
    runs.record(self.request.id, str(number))
    return number
