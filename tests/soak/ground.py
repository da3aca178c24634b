"""The processes of a run: two servers, the network before each, gunicorn and the workers."""

from __future__ import annotations

import contextlib
import http.client
import mmap
import os
import signal
import struct
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import redis

from redis_optimizer.embedded import HOST, EmbeddedServer, free_port
from tests.servers import connect, wait_until

from .plan import Plan

ROOT = Path(__file__).resolve().parent.parent.parent
READY = 60.0  # seconds that a busy machine may take to start all
SETTLE = 120.0  # and to end and start again what has given up
STOP = 60.0  # seconds in which a process must have ended by itself
# A script is busy, for whoever else asks, after 200 ms instead of 5 s.
ARGUMENTS = ("--busy-reply-threshold", "200")


class Process:
    """One process of the site, in a session of its own; what it says goes to a file."""

    def __init__(
        self, name: str, command: list[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.command = [sys.executable, *command]
        self.environment = dict(environment)
        self.log = folder / f"{name}.log"
        self.starts = 0
        self.start()

    def start(self) -> None:
        """Start it; once more, as a supervisor does, if it has ended."""
        self.starts += 1
        with self.log.open("ab") as log:
            self._begins = log.tell()
            self.popen = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def has_ended(self) -> bool:
        return self.popen.poll() is not None

    def wait_log(self, text: str) -> None:
        """Wait until it has said something."""

        def says() -> bool:
            assert not self.has_ended, f"{self.name} ended:\n{self.tail()}"
            return self.has_said(text)

        wait_until(says, READY, 0.05)

    @property
    def takes_jobs(self) -> bool:
        """Return whether it is a worker that has begun, and has not given up since.

        One that gives up, as a server refuses what it needs, may take half a minute to end: so long
        does a child wait until somebody reads its last result (billiard's
        GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT).
        """
        return self.has_said(" ready.") and not self.has_said("Unrecoverable error")

    def has_said(self, text: str) -> bool:
        """Return whether it has said something since it was started for the last time."""
        return text in self.log.read_bytes()[self._begins :].decode()

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text().splitlines()[-lines:])

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.popen.send_signal(number)

    def wait(self) -> int | None:
        """Return the exit status; None when it does not end."""
        try:
            return self.popen.wait(STOP)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Kill it with its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


class Place:
    """One server and the network before it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.server = EmbeddedServer(persistent=True, args=ARGUMENTS)
        self.proxy: Process | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where the site finds it."""
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        self.server.start()
        self.connect_network()

    def connect_network(self) -> None:
        """Begin to lead connections to the server."""
        command = ["-m", "tests.soak.proxy", str(self.port), str(self.server.port)]
        if self.proxy is None:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.proxy = Process(f"network-{self.name}", command, environment, self.folder)
        else:
            self.proxy.start()
        wait_until(self._leads, READY, 0.02)

    def _leads(self) -> bool:
        assert self.proxy is not None
        return self.proxy.log.read_text().count("ready") == self.proxy.starts

    def admin(self) -> redis.Redis:
        """Return a client that no fault of the network meets."""
        client = connect(self.server, timeout=10)
        client.connection_pool.connection_kwargs["client_name"] = "soak"
        return client

    def stop(self) -> None:
        if self.proxy is not None:
            self.proxy.kill()
        self.server.stop()


class Ground:
    """All processes of a run; a context manager.

    Args:
        plan: The run.
        folder: For its files.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.ledger = folder / "ledger"
        self.mark = uuid.uuid4().hex  # in the environment of each process of the site
        self.places = {name: Place(name, folder) for name in ("cache", "broker")}
        self.site: list[Process] = []
        self._clock = folder / "clock"
        self._clock.write_bytes(struct.pack("d", 0.0))

    def __enter__(self) -> Self:
        try:
            for place in self.places.values():
                place.start()
            self._start_site()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill what is left."""
        for process in self.site:
            process.kill()
        for place in self.places.values():
            place.stop()

    def step_clock(self, seconds: float) -> None:
        """Have the wall clock of all processes of the site differ by that."""
        with self._clock.open("r+b") as file, mmap.mmap(file.fileno(), 8) as clock:
            clock[:8] = struct.pack("d", seconds)

    def supervise(self) -> None:
        """Start again what has ended by itself."""
        for process in self.site:
            if process.has_ended:
                process.start()

    def settle(self) -> None:
        """Wait until every worker takes jobs, started again if need be."""

        def all_take_jobs() -> bool:
            self.supervise()
            return all(worker.takes_jobs for worker in self.site[1:])

        wait_until(all_take_jobs, SETTLE, 0.05)

    @property
    def processes(self) -> dict[int, str]:
        """The ids of the site's processes, with the names of those that they belong to."""
        found = {}
        for process in self.site:
            for number in [process.popen.pid, *children(process.popen.pid)]:
                found[number] = process.name
        return found

    def left(self) -> list[int]:
        """Return the processes of the site that live, whoever their parent is."""
        mark = f"SOAK_MARK={self.mark}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and mark in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    # The site

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DJANGO_", "REDIS_OPTIMIZER_", "CELERY_"))
        }
        return kept | {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).with_name("clock")), str(ROOT)]),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "tests.soak.site.settings",
            "SOAK_CACHE_URL": self.places["cache"].url,
            "SOAK_BROKER_URL": self.places["broker"].url,
            "SOAK_LEDGER": str(self.ledger),
            "SOAK_CLOCK": str(self._clock),
            "SOAK_MARK": self.mark,
        }

    def _start_site(self) -> None:
        self.port = free_port()
        web = [
            *("-m", "gunicorn", "tests.soak.site.web:application", "--bind", f"{HOST}:{self.port}"),
            *("--worker-class", "gthread", "--workers", str(self.plan.webs), "--threads", "4"),
            # Nobody asks for half a minute while a server is frozen: the connections stay.
            *("--keep-alive", "120", "--log-level", "warning", "--no-control-socket"),
            *("--graceful-timeout", "30", "--timeout", "120"),
        ]
        self.site.append(Process("web", web, self._environment(), self.folder))
        for number in range(self.plan.workers):
            worker = [
                *("-m", "celery", "-A", "tests.soak.site.app", "worker", "-n", f"w{number}@soak"),
                *("-l", "INFO", "-c", "2"),
            ]
            name = f"worker-{number}"
            self.site.append(Process(name, worker, self._environment(), self.folder))
        for process in self.site[1:]:
            process.wait_log(" ready.")
        wait_until(self._answers, READY, 0.05)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=READY)
        try:
            connection.request("GET", "/live/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            assert not self.site[0].has_ended, self.site[0].tail()
            return False
        finally:
            connection.close()


def children(parent: int) -> list[int]:
    """Return the processes that a process has started, and theirs."""
    found = []
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *children(child)]
    return found
