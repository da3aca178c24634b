"""Start a Celery worker."""

import argparse
from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.app import app_or_default
from celery.bin.celery import celery
from celery.signals import celeryd_init
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from redis_optimizer.connections import PROFILES, find_profile
from redis_optimizer.tasks.worker import use_profile

NO_APP = """\
There is no Celery app. Name it with -A, as for celery worker (-A mysite), or import it where the
settings are, in mysite/__init__.py: from mysite.celery import app as celery_app."""


class Parser(CommandParser):
    """Leave to Celery what Django does not know."""

    def parse_args(  # type: ignore[override]  # argparse overloads it
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        known: argparse.Namespace
        known, known_not = self.parse_known_args(args, namespace)
        known.celery = known_not
        return known


class Command(BaseCommand):
    """Start a worker in this process, with the options of ``celery worker``."""

    help = (
        "Start a Celery worker in this process. All other options are those of `celery worker`, "
        "for example: -c 2 -Q celery -l INFO."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return a parser that takes any option, none of them shortened."""
        parser = super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)
        parser.__class__ = Parser
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what is not Celery's."""
        parser.add_argument("-A", "--app", help="the Celery app; by default the site's")
        parser.add_argument(
            "--profile",
            help=f"how much an idle worker says: {', '.join(PROFILES)}; by default as the "
            "settings have it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the worker to its end; its exit status is that of this process."""
        rest: list[str] = options["celery"]
        if {"-D", "--detach"} & set(rest):
            raise CommandError("-D starts another process. Use `celery multi`, or a supervisor.")
        if options["profile"] is not None:
            try:
                profile = find_profile(options["profile"])
            except ImproperlyConfigured as error:
                raise CommandError(str(error)) from None

            def configure(conf: Any, **kwargs: Any) -> None:
                use_profile(conf, profile)

            celeryd_init.connect(configure, weak=False, dispatch_uid="redis_optimizer.profile")
        app = ["-A", options["app"]] if options["app"] else []
        celery.main(
            args=[*app, "worker", *rest],
            prog_name="celery",
            default_map={"app": site_app},
            auto_envvar_prefix="CELERY",
        )


def site_app() -> Celery:
    """Return the app that the site has made.

    Raises:
        CommandError: when it has made none.
    """
    app = app_or_default()
    if app.main == "default":  # the one that Celery makes where there is none
        raise CommandError(NO_APP)
    return app
