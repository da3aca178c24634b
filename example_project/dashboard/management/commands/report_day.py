"""Have the report of today made."""

from typing import Any

from django.core.management.base import BaseCommand

from example_project.dashboard.tasks import nightly_report
from example_project.dashboard.usage import today


class Command(BaseCommand):
    """Send the job of the nightly report; a site has cron call this at night."""

    help = "Send the job that makes the report of today; the admin shows it among task results."

    def handle(self, **options: Any) -> None:
        """Send it."""
        result = nightly_report.delay(today())
        self.stdout.write(f"The report will be the result of {result.id}.")
