"""The whole site: its web server and its worker."""

import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import redis

from example_project.addresses import jobs_url

from .jobs import JobWorker
from .process import ProcessError
from .website import Website


class Site:
    """Both of them; they stop with the process that started them.

    Args:
        listener: the socket to serve; it is handed over at the start.
        directory: a scratch directory, removed when this process dies without stopping the site.
        environment: what `settings.py` reads.
        workers: number of the web server's processes.
        threads: number of threads in each.
        logs: directory for what they write; None leaves errors on the terminal.
    """

    def __init__(
        self,
        listener: socket.socket,
        directory: Path,
        environment: Mapping[str, str],
        *,
        workers: int = 2,
        threads: int = 4,
        logs: Path | None = None,
    ) -> None:
        self.environment = environment
        self.web = Website(
            listener,
            directory,
            environment,
            workers=workers,
            threads=threads,
            log=logs and logs / "web.log",
        )
        self.worker = JobWorker(directory, environment, log=logs and logs / "worker.log")

    def __enter__(self) -> Self:
        try:
            self.worker.start()
            self.web.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def wait(self) -> None:
        """Wait until both are ready.

        Raises:
            ProcessError: one of them ended or did not answer.
        """
        self.web.wait()
        self.worker.wait()

    def check(self) -> None:
        """Raise ProcessError when one of them has ended."""
        for name, process in (("site", self.web), ("worker", self.worker)):
            if process.status is not None:
                raise ProcessError(f"The {name} ended unexpectedly (exit status {process.status}).")

    def stop(self) -> None:
        """Stop both, the web server first: what it still had to send is sent then."""
        self.web.stop()
        self.worker.stop()
        cache = self.environment["REDIS_URL"]
        for url in (cache, jobs_url(cache)):
            with suppress(redis.RedisError), redis.Redis.from_url(url) as it:
                if left := list(it.scan_iter(f"*{self.environment['EXAMPLE_NAME']}*", count=1000)):
                    it.unlink(*left)

    def tail(self) -> str:
        """Return the ends of both logs."""
        return f"{self.web.tail()}\n{self.worker.tail()}".strip()
