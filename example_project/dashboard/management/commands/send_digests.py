"""Send every user's digest of today."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand

from example_project.dashboard.tasks import send_digest
from example_project.dashboard.usage import today

# On Redis 0 goes first. Who can do something about it hears of it before those who only look on.
OPERATORS_FIRST = {True: 0, False: 9}


class Command(BaseCommand):
    """Send a job for each user's digest; a site has cron call this every morning."""

    help = "Send a job for each user's digest of today, those of operators first."

    def handle(self, **options: Any) -> None:
        """Send the jobs: they leave in batches, one for each priority."""
        day = today()
        users = User.objects.filter(is_active=True).values_list("pk", "is_staff")
        for pk, is_staff in users:
            send_digest.apply_async((pk, day), priority=OPERATORS_FIRST[is_staff])
        self.stdout.write(f"{len(users)} digests will be written.")
