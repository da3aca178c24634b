"""What a site stands on: a running server, a prepared database, a scratch directory."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from django.core.management import call_command
from django.db import connection

from redis_optimizer.embedded import EmbeddedServer

from .progress import Progress

CONNECT_TIMEOUT = 5  # seconds
# When it is full the cache makes room, and no job is lost: what the doctor advises for both on one.
LIMITS = ("--maxmemory", "256mb", "--maxmemory-policy", "volatile-lru")


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a site can be started.

    Args:
        url: of the Redis server.
        server: the server when it is ours; None for the one of REDIS_URL.
        database: the sqlite file.
        scratch: a directory that is removed at the end.
    """

    url: str
    server: EmbeddedServer | None
    database: Path
    scratch: Path

    def environment(self) -> dict[str, str]:
        """Return what the site's settings read, with a fresh name for the site.

        Fresh, so that nothing is read that was cached from another database, and no job is taken
        that another site sent.
        """
        return {
            "REDIS_URL": self.url,
            "EXAMPLE_DB": str(self.database),
            "EXAMPLE_NAME": f"example-{secrets.token_hex(4)}",
        }


@contextmanager
def prepared(progress: Progress, keep: Path | None) -> Iterator[Ground]:
    """Yield the ground for a site; what was started or made for it goes with the block.

    Args:
        progress: where to say how far it is.
        keep: a directory for a database that stays; None makes one that goes.

    Raises:
        ServerNotFound, ServerNotStarted: there is no server to run, or it does not start.
        RedisError: the server of REDIS_URL does not answer.
    """
    with (
        tempfile.TemporaryDirectory(prefix="example-", ignore_cleanup_errors=True) as scratch,
        _running(progress) as (url, server),
    ):
        database = (keep or Path(scratch)) / "example.sqlite3"
        with progress.step("Making the database with sample data"):
            database.parent.mkdir(parents=True, exist_ok=True)
            make_database(database)
        yield Ground(url, server, database.resolve(), Path(scratch))


def make_database(path: Path) -> None:
    """Create or update the sqlite database at `path`, with the sample data in it.

    The connection of this process is pointed there; once it is closed the file is complete and
    may be copied.
    """
    # Here, because it needs the site's settings, and the rest of this module does not.
    from example_project.dashboard import sample

    connection.close()
    connection.settings_dict["NAME"] = str(path)
    call_command("migrate", verbosity=0, interactive=False)
    sample.load()
    connection.close()


@contextmanager
def _running(progress: Progress) -> Iterator[tuple[str, EmbeddedServer | None]]:
    """Yield a server's URL as `running_server` does, and the server to watch when it is ours."""
    if url := os.environ.get("REDIS_URL"):
        with progress.step("Asking the server of REDIS_URL"):
            redis.Redis.from_url(url, socket_connect_timeout=CONNECT_TIMEOUT).ping()
        yield url, None
        return
    with EmbeddedServer(args=LIMITS) as server:
        progress.line(f"A Redis server runs at {server.url}")
        yield server.url, server
