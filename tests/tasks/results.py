"""Helpers of the tests of results: an app of the test's own, and what goes over the wire."""

import contextlib
import threading
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery, states
from celery.app.task import Context
from django.conf import settings

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.tasks.results.retention import key_of_kept
from redis_optimizer.tasks.results.script import STORE
from redis_optimizer.testing.commands import HANDSHAKE
from tests.tasks.processes import Site

TASK = "demo"
KEPT = key_of_kept(TASK, states.SUCCESS)
FAILED = key_of_kept(TASK, states.FAILURE)
SERIALIZERS = ["json", "pickle", "yaml", "msgpack"]
OPENING = {*(name.split()[0] for name in HANDSHAKE), "CLIENT"}
SCRIPT = sha1(STORE.encode(), usedforsecurity=False).hexdigest()
END = "redis_optimizer:test:end"


def make_app(**configuration: Any) -> Celery:
    """Return an app whose results go to the test's server."""
    app = Celery("demo", set_as_current=False)
    app.conf.update(
        result_backend=f"redis_optimizer.tasks.results:RedisBackend+{settings.REDIS_TEST_URL}",
        accept_content=SERIALIZERS,
    )
    app.conf.update(configuration)
    app.task(name=TASK)(demo)
    return app


def demo() -> None:
    """Do nothing: its results are stored by hand."""


def context(job: str, **about: Any) -> Context:
    """Return the request of a job."""
    return Context({"id": job, "task": TASK, **about})


def store(
    app: Celery, job: str, state: str = states.SUCCESS, result: Any = None, **about: Any
) -> None:
    """Store the result of a job."""
    app.backend.store_result(job, result, state, request=context(job, **about))


def state(app: Celery, job: str) -> str:
    """Return what the backend says of a job."""
    found: str = app.backend.get_task_meta(job, cache=False)["status"]
    return found


def lasting(admin: redis.Redis) -> set[str]:
    """Return the jobs whose results last for longer than the grace."""
    return {
        key.removeprefix("celery-task-meta-")
        for key in admin.scan_iter("celery-task-meta-*")
        if not 0 <= admin.ttl(key) <= 60
    }


@contextlib.contextmanager
def counted(admin: redis.Redis) -> Iterator[list[str]]:
    """Collect the names of the commands that clients send; STORE is the script of our backend.

    Not those that open a connection, nor those that a script calls.
    """
    sent: list[str] = []
    port = admin.get_connection_kwargs()["port"]
    with redis.Redis(HOST, port, decode_responses=True, socket_timeout=None).monitor() as monitor:

        def read() -> None:
            for line in monitor.listen():
                if END in line["command"]:
                    return
                name, _, rest = line["command"].partition(" ")
                name = "STORE" if rest.startswith(SCRIPT) else name.upper()
                if line["client_type"] != "lua" and name not in OPENING:
                    sent.append(name)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield sent
        finally:
            admin.publish(END, "")
            thread.join(60)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, server: EmbeddedServer) -> Path:
    """Return a database with the tables of the site, to be copied."""
    site = Site(tmp_path_factory.mktemp("database"), server.port)
    site.migrate()
    return site.database
