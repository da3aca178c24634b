"""Helpers of the tests of deduplication: calls from here, runs in a worker, commands between."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from celery import Celery, uuid

from redis_optimizer.embedded import HOST
from redis_optimizer.tasks import batching, scripts
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.site import runs
from tests.tasks.site.dedup import gate

TASKS = "tests.tasks.site.dedup"
END = "redis_optimizer:test:dedup:end"


class Producer:
    """Calls the tasks of a site in this process; each is an attribute."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.gate = f"gate-{uuid()}"
        self.wait = f"wait {self.gate}"  # what a job is told that is to wait for the gate
        url = f"redis://{HOST}:{site.port}/0"
        self.app = Celery("producer", broker=url, backend=url, set_as_current=False)
        self.app.conf.update(task_ignore_result=True, imports=[TASKS])

    def __getattr__(self, name: str) -> Any:
        return self.app.tasks[f"{TASKS}.{name}"]

    def __enter__(self) -> "Producer":
        self.app.loader.import_default_modules()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.open_gate()
        batching.outbox().close(0)
        batching._forget()
        self.app.close()

    def open_gate(self) -> None:
        """Let jobs that wait go on."""
        gate(self.site.runs, self.gate).touch()

    def runs(self, job: str) -> int:
        """Return how often a job ran."""
        return runs.counts(self.site.runs)[job]

    def notes(self, job: str) -> list[str]:
        """Return what the runs of a job noted, in order."""
        return [note for id, note, _ in runs.rows(self.site.runs) if id == job]

    def all_notes(self) -> list[str]:
        """Return what all runs of the module noted, in order."""
        return [note for _, note, _ in runs.rows(self.site.runs)]

    def wait_run(self, job: str, count: int = 1) -> None:
        """Wait until a job has run, or begun to."""
        wait_until(lambda: self.runs(job) == count)


def settle(client: redis.Redis) -> None:
    """Wait until every job that was sent is done with."""
    quiet = 0

    def is_quiet() -> bool:
        nonlocal quiet
        # A message that a worker has just taken is in neither for a moment.
        quiet = 0 if client.exists("celery", "unacked") else quiet + 1
        return quiet == 10

    wait_until(is_quiet)


def locks(client: redis.Redis) -> list[str]:
    """Return the keys of deduplication."""
    return sorted(client.keys("redis_optimizer:default:dedup:*"))


@contextmanager
def monitored(client: redis.Redis) -> Iterator[list[str]]:
    """Collect the names of our scripts that clients run, and of their commands on our keys."""
    sent: list[str] = []
    names = {s.digest: n for n, s in vars(scripts).items() if isinstance(s, scripts.Script)}
    port = client.get_connection_kwargs()["port"]
    with redis.Redis(HOST, port, decode_responses=True, socket_timeout=None).monitor() as monitor:

        def listen() -> None:
            for line in monitor.listen():
                name, *words = line["command"].split()
                if END in words:
                    return
                if line["client_type"] == "lua" or not words:
                    continue
                if name.upper() == "EVALSHA" and words[0] in names:
                    sent.append(names[words[0]])
                elif name.upper() not in ("EVAL", "KEYS", "PTTL") and ":dedup:" in words[0]:
                    sent.append(name.upper())

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield sent
        finally:
            client.echo(END)
            thread.join(60)
            assert not thread.is_alive()
