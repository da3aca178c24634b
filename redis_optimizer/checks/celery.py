"""Check Celery's settings: what makes a broker or result backend on Redis fail, or work worse."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

from celery import Celery
from celery.app import app_or_default
from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from redis_optimizer.connections.jobs import REFUSED
from redis_optimizer.tasks.envelope import plain_queue

__all__ = ["check_celery"]

REDIS_SCHEMES: Final = ("redis://", "rediss://", "redis+socket://", "sentinel://")
DATABASE_BACKENDS: Final = (
    "django-db",
    "django_celery_results.backends",
    "redis_optimizer.tasks.results:DatabaseBackend",
)

LONGEST_POLLING: Final = 5
"""Seconds that an answer may be late without anybody minding."""


@register(Tags.compatibility)
def check_celery(**kwargs: Any) -> list[CheckMessage]:
    """Check the settings of the current Celery app, where the broker is Redis."""
    return check_app(app_or_default())


def check_app(app: Celery) -> list[CheckMessage]:
    """Check the settings of one Celery app."""
    url = str(app.conf.broker_write_url or app.conf.broker_url or "")
    messages = _check_results(app)
    if url.startswith(REDIS_SCHEMES):
        options = app.conf.broker_transport_options or {}
        messages += _check_import() + _check_queues(app)
        messages += _check_retries(options) + _check_priorities(options) + _check_polling(options)
    return messages


def _check_import() -> list[CheckMessage]:
    try:
        import_module("kombu.transport.redis")
    except ImportError as error:
        return [
            Error(
                f"The broker is Redis, but kombu's transport for it cannot be imported: {error}",
                hint='Install Celery with its extra: pip install "celery[redis]".',
                id="redis_optimizer.E020",
            )
        ]
    return []


def _check_retries(options: dict[str, Any]) -> list[CheckMessage]:
    given = [name for name in REFUSED if options.get(name)]
    if not given:
        return []
    return [
        Warning(
            f"{', '.join(given)} in broker_transport_options: redis-py may send a job twice, and "
            "many jobs are not sent by one command.",
            hint="Leave it out. Celery retries by itself: see task_publish_retry_policy.",
            id="redis_optimizer.W020",
        )
    ]


def _check_priorities(options: dict[str, Any]) -> list[CheckMessage]:
    steps = list(options.get("priority_steps") or [0])
    if steps == sorted(steps) and steps[0] == 0:
        return []
    return [
        Warning(
            f"priority_steps in broker_transport_options is {steps!r}: kombu needs it to rise from "
            "0, or it sends jobs to the list of another priority.",
            hint="Leave it out, or sort it and begin with 0, in all processes at the same time.",
            id="redis_optimizer.W021",
        )
    ]


def _check_polling(options: dict[str, Any]) -> list[CheckMessage]:
    interval = options.get("polling_interval")
    if interval is None or 0 < interval <= LONGEST_POLLING:
        return []
    return [
        Warning(
            f"polling_interval in broker_transport_options is {interval!r} s: a process that has "
            "sent `inspect` or `control` to the workers hears no other answer for that time.",
            hint="Leave it out, and let only workers wait long: celery_settings(..., "
            'profile="metered").',
            id="redis_optimizer.W022",
        )
    ]


def _check_queues(app: Celery) -> list[CheckMessage]:
    names = {name for name in _queues(app.conf) if isinstance(name, str)}
    return [
        Warning(
            f"The queue {name!r} is where envelopes for {plain!r} travel: every worker that "
            f"consumes {plain!r} takes its jobs, too.",
            hint="Give the queue in task_queues, task_routes or task_default_queue another name.",
            id="redis_optimizer.W023",
        )
        for name in sorted(names)
        if (plain := plain_queue(name))
    ]


def _queues(conf: Any) -> Iterator[Any]:
    yield conf.task_default_queue
    for queue in conf.task_queues or ():
        yield getattr(queue, "name", queue)
    routes = conf.task_routes
    for table in routes if isinstance(routes, list | tuple) else [routes]:
        if isinstance(table, Mapping):
            routed = list(table.values())
        else:  # pairs; or a function, or its name, which may route anywhere
            routed = [pair[-1] for pair in table if pair] if isinstance(table, list | tuple) else []
        for route in routed:
            queue = route.get("queue") if isinstance(route, Mapping) else route
            yield getattr(queue, "name", queue)


def _check_results(app: Celery) -> list[CheckMessage]:
    backend = str(app.conf.result_backend or "")
    if not backend.startswith(DATABASE_BACKENDS) or apps.is_installed("django_celery_results"):
        return []
    return [
        Error(
            f"result_backend is {backend!r}, but django_celery_results is not in INSTALLED_APPS: "
            "it has no table.",
            hint='Add "django_celery_results" to INSTALLED_APPS and run manage.py migrate.',
            id="redis_optimizer.E021",
        )
    ]
