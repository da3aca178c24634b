"""Run the example site on this machine, with everything it needs."""

import json
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError

from example_project.dashboard.accounts import PASSWORD, SUPERUSER
from example_project.demo.ground import Ground, prepared
from example_project.demo.interrupts import Interrupted, interruptible
from example_project.demo.process import ProcessError
from example_project.demo.progress import Progress
from example_project.demo.report import table
from example_project.demo.site import Site
from example_project.demo.smoke import Smoke
from example_project.demo.website import find_missing, listen
from redis_optimizer.embedded import ServerNotFound, ServerNotStarted

WATCH_EVERY = 0.2  # seconds


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """Return an argument type for numbers above 0."""

    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = 0
        if not 0 < number < float("inf"):
            raise ArgumentTypeError(f"{text} is not a number above 0")
        return number

    return parse


class Command(BaseCommand):
    """Start a Redis server, a database, the site and its worker, and stop them together."""

    help = (
        "Start a Redis server (or use REDIS_URL), make a database with sample data, and run the "
        "example site and its Celery worker until Ctrl-C. With --smoke: drive traffic through the "
        "site on plain django-redis and Celery, then on redis_optimizer, and show what was saved."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--port", type=int, default=8000, help="of the site (default 8000)")
        parser.add_argument("--workers", type=positive(int), default=2, help="processes")
        parser.add_argument("--threads", type=positive(int), default=4, help="in each process")
        parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the database in DIR")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
        parser.add_argument("--smoke", action="store_true", help="measure instead of serving")
        parser.add_argument(
            "--seconds", type=positive(float), default=6.0, help="of traffic through each site"
        )
        parser.add_argument(
            "--rate",
            type=positive(float),
            help="turns of visitors a second, so many however busy the machine is (as many as the "
            "site takes)",
        )

    def handle(self, **options: Any) -> None:
        """Run until interrupted; with --smoke until the figures are there."""
        if missing := find_missing():
            raise CommandError(
                f"The demo needs {' and '.join(missing)}: pip install 'redis-optimizer[demo]'"
            )
        self.progress = Progress(sys.stderr if options["json"] else sys.stdout)
        try:
            with interruptible():
                (self.smoke if options["smoke"] else self.serve)(options)
        except Interrupted as stop:
            self.progress.line("Stopped.")
            if options["smoke"]:  # unfinished; a site that is told to stop has done its work
                sys.exit(128 + stop.number)
        except (ServerNotFound, ServerNotStarted, ProcessError, redis.RedisError) as error:
            raise CommandError(str(error)) from error

    def serve(self, options: dict[str, Any]) -> None:
        """Serve the site until interrupted."""
        # First of all, so that a port that is taken is said at once.
        listener = listen(options["port"])
        with listener, prepared(self.progress, options["keep"]) as ground:
            site = Site(
                listener,
                ground.scratch,
                ground.environment(),
                workers=options["workers"],
                threads=options["threads"],
            )
            with site:
                with self.progress.step("Starting the site and its worker"):
                    site.wait()
                self.announce(site, ground, as_json=options["json"])
                while ground.server is None or ground.server.running:
                    site.check()
                    time.sleep(WATCH_EVERY)
                raise CommandError("The Redis server ended unexpectedly.")

    def smoke(self, options: dict[str, Any]) -> None:
        """Compare both sites under the same traffic, and fail when anything was wrong."""
        with prepared(self.progress, options["keep"]) as ground:
            comparison = Smoke(
                ground,
                options["seconds"],
                options["workers"],
                options["threads"],
                options["rate"],
            ).compare(self.progress)
        if options["json"]:
            self.stdout.write(json.dumps(comparison.as_dict(), indent=2))
        else:
            self.stdout.write(f"\n{table(comparison)}")
            if ground.server is None:
                self.stdout.write("It includes what other clients of REDIS_URL did meanwhile.")
        if faults := comparison.find_faults():
            raise CommandError("\n".join(faults))

    def announce(self, site: Site, ground: Ground, *, as_json: bool) -> None:
        """Say where the site is and who may log in."""
        if as_json:
            facts = {
                "url": site.web.url,
                "user": SUPERUSER,
                "password": PASSWORD,
                "redis_url": ground.url,
                "database": str(ground.database),
                "name": site.environment["EXAMPLE_NAME"],
                "worker": site.worker.pid,
            }
            self.stdout.write(json.dumps(facts))
            self.stdout.flush()
        self.progress.line()
        self.progress.line(f"  {site.web.url}")
        self.progress.line(
            f"  Log in as {SUPERUSER} with the password {PASSWORD}. Ctrl-C stops all."
        )
        self.progress.line()
