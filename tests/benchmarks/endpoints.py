"""The example site's endpoints: `python -m tests.benchmarks.endpoints [--seconds 600] [--staff]`.

Makes a database with sample data, and has `redis_optimizer_benchmark endpoints` poll the health
and the status of one organisation there; other options are that command's.
"""

import sys

from django.core.management import call_command

from tests.benchmarks.example import example_database

PATHS = ("/api/health", "/api/integrations/status?org=1", "/health/", "/ready/")


def main(arguments: list[str]) -> None:
    """Run the command on a site of its own."""
    with example_database():
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
