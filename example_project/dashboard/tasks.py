"""The jobs of the dashboard, one of each kind."""

import time
from collections import Counter
from datetime import date

from celery import shared_task
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, F, Sum
from django.utils import timezone

from redis_optimizer.tasks import BatchTask, DedupTask, Job

from .choices import State
from .models import Digest, Integration, Organisation, UsageDay

PROVIDER_SECONDS = 0.2  # how long our providers, who do not exist, take to answer


class SyncError(Exception):
    """A provider did not answer as it should."""


# Deduplicated: however often somebody asks, an integration waits to be synced once.
@shared_task(base=DedupTask, dedup_on=("integration",), acks_late=True, throws=(SyncError,))
def sync_integration(integration: int) -> str:
    """Ask a provider for news.

    Args:
        integration: the id.

    Raises:
        SyncError: the integration fails; the result says why.
    """
    row = Integration.objects.filter(pk=integration).first()
    if row is None:
        return "It was removed meanwhile."
    time.sleep(PROVIDER_SECONDS)
    if row.state == State.FAILING:
        raise SyncError(row.error)
    row.last_sync = timezone.now()
    row.save(update_fields=["last_sync"])
    return f"{row} is up to date."


# In bulk: one call, one transaction for all that were counted meanwhile. A worker that is killed
# has them run again, so after a crash some views may be counted twice, and none is lost.
@shared_task(base=BatchTask, bulk=True, batch_timeout=5, acks_late=True, ignore_result=True)
def record_usage(jobs: list[Job]) -> None:
    """Count page views; each job is one, called with the id of the organisation and the day."""
    views = Counter(job.args for job in jobs)
    there = set(
        Organisation.objects.filter(pk__in={pk for pk, _ in views}).values_list("pk", flat=True)
    )
    with transaction.atomic():
        for (pk, day), count in views.items():
            if pk in there:
                row, _ = UsageDay.objects.get_or_create(
                    organisation_id=pk, day=date.fromisoformat(day)
                )
                UsageDay.objects.filter(pk=row.pk).update(views=F("views") + count)


# In batches, each user's digest on its own: one that fails stops no other.
@shared_task(base=BatchTask, acks_late=True)
def send_digest(user: int, day: str) -> str:
    """Write a user's digest of one day; written again, it is replaced.

    Args:
        user: the id.
        day: in ISO format.
    """
    row = User.objects.filter(pk=user, is_active=True).first()
    if row is None:
        return "The account was closed meanwhile."
    failing = Integration.objects.filter(state=State.FAILING).select_related("organisation")
    lines = [f"{each}: {each.error}" for each in failing]
    text = "\n".join(lines) or "All integrations work."
    Digest.objects.update_or_create(user=row, day=date.fromisoformat(day), defaults={"text": text})
    return f"{row} was told of {len(lines)} integrations."


# An ordinary task: nothing has to change in it.
@shared_task
def nightly_report(day: str) -> dict[str, int]:
    """Sum up a day; the report is the result.

    Args:
        day: in ISO format.
    """
    states = Integration.objects.values_list("state").annotate(Count("pk")).order_by("state")
    views = UsageDay.objects.filter(day=date.fromisoformat(day)).aggregate(views=Sum("views"))
    return {**dict(states), "views": views["views"] or 0}
