"""Tasks whose commands are counted."""

from celery import Task, shared_task

from redis_optimizer.tasks import OptimizedTask
from tests.tasks.site import runs

BATCH = {"base": OptimizedTask, "batch_size": 100, "batch_timeout": 60.0}


@shared_task(bind=True, ignore_result=True, **BATCH)
def ignored(self, number):
    runs.record(self.request.id)


@shared_task(bind=True, ignore_result=False, **BATCH)
def kept(self, number):
    runs.record(self.request.id)


@shared_task(ignore_result=False, bulk=True, **BATCH)
def together(jobs):
    runs.record_many([(job.id, "") for job in jobs])


@shared_task(bind=True, base=Task, ignore_result=False)
def plain(self, number):
    runs.record(self.request.id)


@shared_task(bind=True, base=Task, ignore_result=True)
def plain_ignored(self, number):
    runs.record(self.request.id)
