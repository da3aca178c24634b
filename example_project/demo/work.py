"""Whether every job that the visitors caused has run: by the rows that jobs leave."""

import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .visitor import Visitor

DEADLINE = 20.0  # seconds for the last job to have run
POLL = 0.05
# A click while the same sync is about to end is one with it.
OVERLAP = timedelta(seconds=0.5)

VIEWS = "SELECT COALESCE(SUM(views), 0) FROM dashboard_usageday"
SYNCS = "SELECT id, last_sync FROM dashboard_integration"


@dataclass(frozen=True, slots=True)
class Work:
    """What became of the jobs.

    Args:
        sent: calls that sent a job.
        views: pages that were viewed.
        counted: views that jobs counted.
        unsynced: integrations that were not synced after the last call for it.
    """

    sent: int
    views: int
    counted: int
    unsynced: int

    def find_faults(self) -> list[str]:
        """Return what went wrong, in words."""
        found = []
        if self.counted < self.views:
            found.append(f"{self.views - self.counted} of {self.views} page views are not counted")
        if self.counted > self.views:
            found.append(f"{self.counted - self.views} page views are counted twice")
        if self.unsynced:
            found.append(f"{self.unsynced} integrations are not synced")
        return found


def wait_done(database: Path, visitors: Iterable[Visitor], *, deadline: float = DEADLINE) -> Work:
    """Wait until every job has run, or the deadline is over.

    Args:
        database: the site's.
        visitors: whose requests sent jobs.
        deadline: in seconds.
    """
    visitors = list(visitors)
    until = time.monotonic() + deadline
    while (work := look(database, visitors)).find_faults() and time.monotonic() < until:
        time.sleep(POLL)
    return work


def look(database: Path, visitors: Iterable[Visitor]) -> Work:
    """Compare what visitors did with the rows that are there."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        (counted,) = connection.execute(VIEWS).fetchone()
        synced = {pk: _moment(text) for pk, text in connection.execute(SYNCS)}
    views = syncs = unsynced = 0
    for visitor in visitors:
        views += visitor.views
        syncs += visitor.syncs
        unsynced += sum(synced[pk] < at - OVERLAP for pk, at in visitor.synced.items())
    return Work(views + syncs, views, counted, unsynced)


def _moment(text: str | None) -> datetime:
    return (
        datetime.fromisoformat(text).replace(tzinfo=UTC)
        if text
        else datetime.min.replace(tzinfo=UTC)
    )
