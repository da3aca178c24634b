"""What a process of the pool is given of the jobs of one call, and makes their requests of."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from celery import Celery
from kombu.serialization import prepare_accept_content

from redis_optimizer.tasks.message import Arguments, decode
from redis_optimizer.tasks.opened import delivered_with
from redis_optimizer.tasks.packed import Jobs, Part

__all__ = ["About", "Parts"]


class About(NamedTuple):
    """What the jobs of a call have in common.

    Args:
        hostname: Name of the worker.
        delivery_tag: Of their envelope.
        body_encoding: Of their envelope.
        events: Somebody is to be told of each that ends.
    """

    hostname: str
    delivery_tag: Any
    body_encoding: Any
    events: bool


class Parts:
    """The jobs of a call.

    Args:
        app: The worker's.
        packed: The jobs.
        given: Requests of those whose request the main process has made, by place.
        about: What they have in common.
    """

    def __init__(
        self, app: Celery, packed: Part, given: Mapping[int, dict[str, Any]], about: About
    ) -> None:
        self.jobs = Jobs(packed)
        self._given = given
        self.about = about
        self._accept = prepare_accept_content(app.conf.accept_content)

    def arguments(self, place: int) -> Arguments:
        """Return what a job is called with, and what is to follow it.

        Raises:
            Exception: they cannot be decoded.
        """
        if given := self._given.get(place):
            return given["args"], given["kwargs"], given
        jobs = self.jobs
        return decode(
            jobs.body(place),
            jobs.field(place, "content_type"),
            jobs.field(place, "content_encoding"),
            jobs.header(place, "compression"),
            self._accept,
        )

    def request(self, place: int, arguments: Arguments) -> dict[str, Any]:
        """Return what Celery's tracer takes as the request of a job."""
        if given := self._given.get(place):
            return given
        job, about = self.jobs[place], self.about
        args, kwargs, embed = arguments
        return {
            **job.headers,
            "properties": delivered_with(job, about.delivery_tag, about.body_encoding),
            "reply_to": job.properties.get("reply_to"),
            "correlation_id": job.properties.get("correlation_id"),
            "hostname": about.hostname,
            "delivery_info": {
                "exchange": job.exchange,
                "routing_key": job.routing_key,
                "priority": job.priority,
                "redelivered": False,
            },
            "args": args,
            "kwargs": kwargs,
            "is_eager": False,
            **embed,
        }
