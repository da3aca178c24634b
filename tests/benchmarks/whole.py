"""Everything, on the example site: `python -m tests.benchmarks.whole [--growth] [--html FILE]`.

Makes a database with sample data, and runs `redis_optimizer_benchmark all` there; other options are
that command's.
"""

import sys

from django.core.management import call_command

from tests.benchmarks.example import example_database

PATHS = ("/api/health", "/api/integrations/status?org=1")


def main(arguments: list[str]) -> None:
    """Run the command on a site of its own."""
    with example_database():
        options = [f"--path={path}" for path in PATHS]
        call_command("redis_optimizer_benchmark", "all", *options, *arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
