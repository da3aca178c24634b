"""The same traffic through the site with plain django-redis and with TieredCache."""

import shutil
from dataclasses import dataclass, replace
from http.client import HTTPException

from .commandstats import CommandCounter
from .comparison import Comparison, Run
from .ground import Ground
from .progress import Progress
from .traffic import arrive, drive, follow
from .website import Website, WebsiteError, listen


@dataclass(frozen=True, slots=True)
class Smoke:
    """What to compare on.

    Args:
        ground: the server and the database; each site gets a copy of it.
        seconds: of traffic through each site.
        workers: processes of each site.
        threads: threads of each process.
    """

    ground: Ground
    seconds: float = 6
    workers: int = 2
    threads: int = 4

    def compare(self, progress: Progress) -> Comparison:
        """Run both sites, one after the other.

        Raises:
            WebsiteError: a site cannot be started or does not answer.
        """
        return Comparison(
            plain=self._run("plain django-redis", True, progress),
            tiered=self._run("TieredCache", False, progress),
        )

    def _run(self, name: str, plain: bool, progress: Progress) -> Run:
        with self._site(plain) as site, CommandCounter(self.ground.url) as counter:
            with progress.step(f"Starting the site with {name}"):
                site.wait()
            counter.restart()
            try:
                with progress.step("  Visitors arrive and log in"):
                    visitors = arrive(site.port, site.processes)
                with progress.step("  Traffic"):
                    traffic = drive(visitors, seconds=self.seconds, note=progress.note)
                commands = counter.count()
                with progress.step("  Following changes through all processes"):
                    spread = follow(visitors, site.processes, note=progress.note)
            except (OSError, HTTPException) as error:
                raise WebsiteError(f"The site gave no answer: {error}\n{site.tail()}") from error
            if traffic.failures:
                progress.line(site.tail())
        return Run(name, traffic, commands, spread)

    def _site(self, plain: bool) -> Website:
        scratch = self.ground.scratch
        kind = "plain" if plain else "tiered"
        copy = scratch / f"{kind}.sqlite3"
        shutil.copy(self.ground.database, copy)
        environment = replace(self.ground, database=copy).environment()
        return Website(
            listen(0),
            scratch,
            environment | {"EXAMPLE_PLAIN_CACHE": "1" if plain else "0"},
            workers=self.workers,
            threads=self.threads,
            log=scratch / f"{kind}.log",
        )
