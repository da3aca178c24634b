"""The example site's endpoints: `python -m tests.benchmarks.endpoints [--seconds 600] [--staff]`.

Makes a database with sample data, and has `redis_optimizer_benchmark endpoints` poll the health
and the status of one organisation there; other options are that command's.
"""

import os
import sys
import tempfile
from pathlib import Path

import django
from django.core.management import call_command

PATHS = ("/api/health", "/api/integrations/status?org=1", "/health/", "/ready/")


def main(arguments: list[str]) -> None:
    """Run the command on a site of its own."""
    with tempfile.TemporaryDirectory(prefix="endpoints-", ignore_cleanup_errors=True) as directory:
        database = Path(directory) / "example.sqlite3"
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "EXAMPLE_DB": str(database),
        }
        django.setup()
        from example_project.demo.ground import make_database

        make_database(database)
        options = [f"--path={path}" for path in PATHS]
        if "--staff" in arguments:
            arguments.remove("--staff")
            options.append(f"--cookie={staff_cookie()}")
        call_command("redis_optimizer_benchmark", "endpoints", *options, *arguments)


def staff_cookie() -> str:
    """Log the superuser in and return the cookie."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client

    client = Client()
    client.force_login(User.objects.filter(is_superuser=True)[0])
    connection.close()
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


if __name__ == "__main__":
    main(sys.argv[1:])
