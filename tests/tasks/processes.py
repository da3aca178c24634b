"""The site's processes: Celery workers and producers, started and stopped as users do."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from redis_optimizer.embedded import HOST
from tests.servers import wait_until
from tests.tasks.site import runs

ROOT = Path(__file__).resolve().parent.parent.parent
HEAD = """
import django; django.setup()
from tests.tasks.site.app import app
app.loader.import_default_modules()
"""
READY = 60  # seconds until a worker must be ready
STOP = 90  # seconds until a process must have ended; a pool that ends with a job may take 33


class Site:
    """Where the processes of one test find the broker, the database and the table of runs.

    Args:
        directory: for the files of this test alone.
        port: of the broker.
        tasks: modules of tasks to load.
        settings: added to those of `tests.tasks.site.settings`.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        tasks: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.directory = directory
        self.port = port
        self.tasks = tuple(tasks)
        self.settings = dict(settings or {})
        self.runs = directory / "runs.sqlite3"
        self.database = directory / "site.sqlite3"
        runs.create(self.runs)

    def environment(self, *, plain: bool = False, **settings: Any) -> dict[str, str]:
        """Return the environment of one process.

        Args:
            plain: it has no redis_optimizer among its apps, as in an older deployment.
            settings: Django settings of this process alone.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SITE_", "DJANGO_", "REDIS_OPTIMIZER_", "CELERY_"))
        }
        return kept | {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "tests.tasks.site.settings",
            "SITE_BROKER_URL": f"redis://{HOST}:{self.port}/0",
            "SITE_DATABASE": str(self.database),
            "SITE_RUNS": str(self.runs),
            "SITE_TASKS": ",".join(self.tasks),
            "SITE_PLAIN": "1" if plain else "0",
            "SITE_SETTINGS": json.dumps(self.settings | settings),
        }

    def migrate(self) -> None:
        """Make the tables of the site's database."""
        self.run("-m", "django", "migrate", "--verbosity", "0")

    def run(
        self, *arguments: str, plain: bool = False, check: bool = True, **settings: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with arguments to its end."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment(plain=plain, **settings),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def produce(self, code: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run code in a process in which Django and the Celery app are set up."""
        return self.run("-c", HEAD + code, **options)

    @contextlib.contextmanager
    def start(self, code: str) -> Iterator["subprocess.Popen[str]"]:
        """Run such a process beside the block; what it prints can be read, and it can be told."""
        process = subprocess.Popen(
            [sys.executable, "-c", HEAD + code],
            cwd=ROOT,
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            with process:  # closes the pipes
                pass

    @contextlib.contextmanager
    def worker(
        self, *arguments: str, plain: bool = False, ready: bool = True, **settings: Any
    ) -> Iterator["Worker"]:
        """Run a worker; it is killed, children and all, if it still runs after the block.

        Args:
            arguments: for ``celery worker``; ``-c 2`` when there are none.
            plain: it knows nothing of redis_optimizer.
            ready: wait until it takes jobs.
            settings: Django settings of this process alone.
        """
        worker = Worker(self, arguments or ("-c", "2"), plain, settings)
        try:
            if ready:
                worker.wait_ready()
            yield worker
        finally:
            worker.kill()


class Worker:
    """One Celery worker, in a process group of its own."""

    count = 0

    def __init__(
        self, site: Site, arguments: Sequence[str], plain: bool, settings: Mapping[str, Any]
    ) -> None:
        Worker.count += 1
        self.name = f"w{Worker.count}@test"
        self.path = site.directory / f"worker-{Worker.count}.log"
        command = ["-m", "celery", "-A", "tests.tasks.site.app", "worker", "-n", self.name]
        with self.path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command, "-l", "INFO", *arguments],
                cwd=ROOT,
                env=site.environment(plain=plain, **settings),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """Return what it has printed."""
        return self.path.read_text()

    def wait_ready(self) -> None:
        """Wait until it takes jobs."""

        def is_ready() -> bool:
            assert self.process.poll() is None, self.log
            return " ready." in self.log

        wait_until(is_ready, READY)

    def wait_log(self, text: str, timeout: float = READY) -> None:
        """Wait until it has printed a text."""
        wait_until(lambda: text in self.log, timeout)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = STOP) -> int:
        """Send a signal to the main process and return its exit status."""
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"The worker did not stop:\n{self.log}") from None

    def children(self) -> list[int]:
        """Return the ids of the processes of its pool."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        if listed.exists():  # on Linux, where pgrep may be missing
            found = listed.read_text()
        else:
            command = ["pgrep", "-P", str(self.process.pid)]
            found = subprocess.run(command, capture_output=True, text=True).stdout
        return [int(number) for number in found.split()]

    def kill(self) -> None:
        """Kill it with its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP)
