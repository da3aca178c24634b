"""The same traffic through the site as it comes with Django and Celery, and with this package."""

import shutil
import time
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path

import redis

from example_project.addresses import jobs_url
from redis_optimizer.management.benchmark.wire import Wire

from .commands import split
from .comparison import Comparison, Run, Stop
from .ground import Ground
from .process import ProcessError
from .progress import Progress
from .site import Site
from .traffic import arrive, drive, follow
from .visitor import Traffic, Visitor
from .website import listen
from .work import Work, wait_done


@dataclass(frozen=True, slots=True)
class Smoke:
    """What to compare on.

    Args:
        ground: the server and the database; each site gets a copy of it.
        seconds: of traffic through each site.
        workers: processes of each site.
        threads: threads of each process.
        rate: turns of visitors a second, on both sites alike; None lets each go on as fast as
            it is answered.
        warm_up: seconds of the same traffic before anything is counted.
    """

    ground: Ground
    seconds: float = 6
    workers: int = 2
    threads: int = 4
    rate: float | None = None
    warm_up: float = 0

    def compare(self, progress: Progress) -> Comparison:
        """Run both sites, one after the other.

        Raises:
            ProcessError: a site cannot be started or does not answer.
        """
        return Comparison(
            plain=self._run("plain", True, progress),
            optimized=self._run("redis_optimizer", False, progress),
            warm_up=self.warm_up,
        )

    def _run(self, name: str, plain: bool, progress: Progress) -> Run:
        with Wire(self.ground.url) as wire:
            others = self._count_connections()
            with self._site(name, plain) as site:
                return self._measure(name, site, wire, others, progress)

    def _measure(self, name: str, site: Site, wire: Wire, others: int, progress: Progress) -> Run:
        database = self.ground.scratch / name / "example.sqlite3"
        with progress.step(f"Starting the site: {name}"):
            site.wait()
        wire.restart()
        try:
            with progress.step("  Visitors arrive and log in"):
                visitors = arrive(site.web.port, site.web.processes)
            before = 0
            if self.warm_up:
                with progress.step("  Warming up"):
                    before = self._warm_up(visitors, database, progress).sent
                wire.restart()
            with progress.step("  Traffic"):
                traffic = drive(visitors, seconds=self.seconds, rate=self.rate, note=progress.note)
            with progress.step("  Waiting for the jobs"):
                work = wait_done(database, visitors)
            counts = wire.counts()
            connections = self._count_connections() - others
            with progress.step("  Following changes through all processes"):
                spread = follow(visitors, site.web.processes, note=progress.note)
            for visitor in visitors:
                visitor.client.close()
            with progress.step("  Stopping"):
                after = wait_done(database, visitors)
                stop = self._stop(site)
        except (OSError, HTTPException) as error:
            raise ProcessError(f"The site gave no answer: {error}\n{site.tail()}") from error
        if traffic.failures or after.find_faults() or stop.find_faults():
            progress.line(site.tail())
        cache, jobs = split(counts, site.environment["EXAMPLE_NAME"])
        sent = work.sent - before
        return Run(name, traffic, cache, jobs, sent, connections, spread, after, stop)

    def _warm_up(self, visitors: list[Visitor], database: Path, progress: Progress) -> Work:
        """Have the visitors begin, and the jobs of that run; what was wrong is kept."""
        drive(visitors, seconds=self.warm_up, rate=self.rate, note=progress.note)
        work = wait_done(database, visitors)
        for visitor in visitors:
            seen = visitor.traffic
            visitor.traffic = Traffic(failures=seen.failures, stale=seen.stale)
        return work

    def _count_connections(self) -> int:
        """Return how many connections the server has; the one that asks is gone afterwards."""
        with redis.Redis.from_url(self.ground.url) as client:
            return int(client.info("clients")["connected_clients"])

    def _stop(self, site: Site) -> Stop:
        """Stop a site while its jobs are looked at."""
        site.web.stop()
        started = time.monotonic()
        status = site.worker.stop()
        seconds = time.monotonic() - started
        with redis.Redis.from_url(jobs_url(self.ground.url)) as client:
            queues = client.scan_iter(f"{site.environment['EXAMPLE_NAME']}-jobs*", _type="list")
            left = sum(client.llen(queue) for queue in queues)
            if self.ground.server is not None:  # others may work on that of REDIS_URL
                left += client.hlen("unacked")
        return Stop(status, seconds, left)

    def _site(self, name: str, plain: bool) -> Site:
        directory = self.ground.scratch / name
        directory.mkdir()
        copy = directory / "example.sqlite3"
        shutil.copy(self.ground.database, copy)
        return Site(
            listen(0),
            self.ground.scratch,
            replace(self.ground, database=copy).environment()
            | {"EXAMPLE_PLAIN": "1" if plain else "0"},
            workers=self.workers,
            threads=self.threads,
            logs=directory,
        )
