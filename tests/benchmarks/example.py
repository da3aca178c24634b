"""The example site's database, for benchmarks that ask for its pages."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django


@contextmanager
def example_database() -> Iterator[None]:
    """Set Django up as the example site, on sample data that goes with the block."""
    with tempfile.TemporaryDirectory(prefix="example-", ignore_cleanup_errors=True) as directory:
        database = Path(directory) / "example.sqlite3"
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "EXAMPLE_DB": str(database),
        }
        django.setup()
        from example_project.demo.ground import make_database

        make_database(database)
        yield
