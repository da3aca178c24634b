"""A site on a server of its own, and an app that sends envelopes to it."""

from pathlib import Path
from typing import Any

import redis
from celery import Celery, states

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.tasks.envelope import batch_queue
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.site import runs
from tests.tasks.site.enveloped import make_job, send_envelope

WAIT = 60  # seconds for anything that a worker is to do
TASKS = ["tests.tasks.site.enveloped"]
QUEUES = ("celery", batch_queue("celery"))


class Ground:
    """A server of its own, a site on it, and an app that sends to it."""

    def __init__(self, directory: Path, server: EmbeddedServer, **settings: Any) -> None:
        backend = f"redis://{HOST}:{server.port}/1"
        self.site = Site(
            directory,
            server.port,
            tasks=TASKS,
            settings={"CELERY_RESULT_BACKEND": backend} | settings,
        )
        broker = f"redis://{HOST}:{server.port}/0"
        self.app = Celery("producer", broker=broker, backend=backend, set_as_current=False)
        self.app.conf.broker_transport_options = settings.get("CELERY_BROKER_TRANSPORT_OPTIONS", {})
        self.redis = redis.Redis(HOST, server.port, decode_responses=True)

    def send(self, task: Any, *arguments: Any, **options: Any) -> list[str]:
        """Send an envelope with one job for each argument."""
        jobs = [make_job(self.app, task, argument, **options) for argument in arguments]
        return send_envelope(self.app, *jobs)

    def get(self, identity: str) -> Any:
        """Return or raise what a job ended with."""
        meta = wait_until(lambda: self._meta(identity), WAIT)
        if meta["status"] != states.SUCCESS:
            raise meta["result"]
        return meta["result"]

    def _meta(self, identity: str) -> Any:
        # Not by AsyncResult, which unsubscribes when it goes: the server may be gone before.
        meta = self.app.backend.get_task_meta(identity)
        return meta if meta["status"] in states.READY_STATES else None

    def notes(self, identity: str) -> list[str]:
        """Return what the runs of a job wrote."""
        return [note for job, note, _ in runs.rows(self.site.runs) if job == identity]

    def wait_notes(self, identity: str, *notes: str) -> None:
        """Wait until the runs of a job have written this."""
        wait_until(lambda: self.notes(identity) == list(notes), WAIT)

    def wait_received(self) -> None:
        """Wait until workers have all that was sent."""
        wait_until(lambda: not any(map(self.redis.llen, QUEUES)), WAIT)

    def wait_done(self) -> None:
        """Wait until nothing is queued or with a worker."""
        wait_until(
            lambda: not any(map(self.redis.llen, QUEUES)) and not self.redis.exists("unacked"),
            WAIT,
        )

    def close(self) -> None:
        """Let go of the connections."""
        self.app.close()
        self.redis.close()
