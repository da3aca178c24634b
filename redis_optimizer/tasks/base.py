"""The task classes."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from celery.contrib.django.task import DjangoTask

from redis_optimizer import uwsgi
from redis_optimizer.conf import get_settings
from redis_optimizer.switches import is_on
from redis_optimizer.tasks import batching, block, dedup
from redis_optimizer.tasks.bulk import run_one
from redis_optimizer.tasks.handles import result_class
from redis_optimizer.tasks.kinds import Kind
from redis_optimizer.tasks.kombu.capture import Capture
from redis_optimizer.tasks.message import Message
from redis_optimizer.tasks.options import check_options
from redis_optimizer.tasks.resume import with_latest

__all__ = ["BatchTask", "DedupTask", "OptimizedTask"]

NOT_ALONE: Final = ("link", "link_error", "chain", "chord", "group_id", "retries", "reply_to")
"""Options of a call that others wait for or refer to: it goes Celery's own way."""

GIVEN: Final = ("publisher", "connection")
"""Options, beside `producer`, that say how to send it: it does not wait for others."""

LATER: Final = ("countdown", "eta")
"""Options of a call that runs later: it is sent alone."""


if TYPE_CHECKING:
    _Task = DjangoTask[Any, Any]
else:  # not generic at run time
    _Task = DjangoTask


class OptimizedTask(_Task):
    """A task whose jobs can leave in batches, only once, and leave few results behind.

    Use it as the base of a task: ``@shared_task(base=OptimizedTask, batch_size=100)``. With the
    defaults it is a Celery task like any other. Times are in seconds; None stands for the setting
    of that name in ``REDIS_OPTIMIZER``.
    """

    abstract = True

    batch_size: int | None = 1
    """Jobs that leave together in one message; 1 sends each at once."""

    batch_timeout: float | None = None
    """The longest that a job waits for others; 0 sends each at once. A process that is killed by
    signal 9 loses what waits."""

    batch_delay: float | None = None
    """The least time between two sendings of one process, which smooths bursts."""

    flush_on_response: bool = False
    """What a request calls for leaves before its response does."""

    bulk: bool = False
    """The function takes a list of `Job` and runs once for all jobs of a message."""

    dedup: str | None = None
    """Which calls are one job: "until_executing", "until_executed", "throttle", "debounce" or
    "keep_last"; None for every call its own."""

    dedup_on: Sequence[str] | Callable[..., Any] | None = None
    """What makes calls equal: names of arguments, or a function of them; None for all arguments."""

    dedup_ttl: float | None = None
    """How long a job stands for its duplicates when it is never heard of again."""

    keep_succeeded: int | None = None
    """Results of successful runs that are kept; 0 keeps all."""

    keep_failed: int | None = None
    """Results of failed runs that are kept; 0 keeps all."""

    idempotent: bool = False
    """Running a job twice does no harm, so early acknowledgement is meant: no check warns."""

    run_bulk: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_options(str(cls.name or cls.__name__), vars(cls))
        own = inspect.getattr_static(cls, "run")
        if cls.bulk and own is not _run_alone:
            cls.run_bulk = own
            cls.run = _run_alone  # type: ignore[method-assign]
            cls.typing = False  # its function has the signature of a list of jobs
        elif cls.dedup in dedup.REPLACING:
            cls.run = with_latest(own)  # type: ignore[method-assign]

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Check the options that need the function; Celery calls it when the app is ready."""
        super().on_bound(app)
        dedup.check_options(cls)

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> Any:
        """Send a job, or let it wait for others of its kind.

        Takes, returns and raises what `celery.Task.apply_async` does. Calls with links, in a
        group, chord or chain, with an id or a producer of their own go Celery's own way.
        """
        options |= {"link": link, "link_error": link_error, "shadow": shadow}

        def send(id: str | None, headers: Mapping[str, str]) -> Any:
            return self._send(args, kwargs, id, headers, options)

        def send_as_given(id: str | None, headers: Mapping[str, str]) -> Any:
            given = _with_headers(options, headers)
            return super(OptimizedTask, self).apply_async(args, kwargs, id, producer, **given)

        if self._is_switched_off() or task_id or _has(options, *NOT_ALONE):
            return super().apply_async(args, kwargs, task_id, producer, **options)
        if producer or _has(options, *GIVEN):  # as beat does
            send = send_as_given
        if self.dedup and is_on("dedup"):
            return dedup.apply_async(self, send, tuple(args or ()), dict(kwargs or {}), options)
        return send(None, {})

    def AsyncResult(self, task_id: str, **kwargs: Any) -> Any:  # noqa: N802  # its name in Celery
        """Return the result of one of the task's jobs, which sends the job if it still waits."""
        return result_class(self.app)(task_id, backend=self.backend, task_name=self.name, **kwargs)

    def _is_switched_off(self) -> bool:
        return bool(not get_settings().ENABLED or self.app.conf.task_always_eager)

    def _send(
        self,
        args: Any,
        kwargs: Any,
        id: str | None,
        headers: Mapping[str, str],
        options: Mapping[str, Any],
    ) -> Any:
        options = _with_headers(options, headers)
        terms = batching.terms_of(self)
        if not is_on("batching"):
            batching.flush_all()  # what was called for before
            return super().apply_async(args, kwargs, task_id=id, **options)
        if terms.size == 1 or not terms.timeout or _has(options, *LATER) or not uwsgi.can_wait():
            return super().apply_async(args, kwargs, task_id=id, **options)
        kinds: list[Kind] = []

        def take(message: Message) -> None:
            kinds.append(batching.put(self.app, self, message))

        with Capture(self.app, take) as producer:
            result = super().apply_async(args, kwargs, task_id=id, producer=producer, **options)
        for kind in kinds:
            if opened := block.current():
                opened.touch(kind, flush_on_response=self.flush_on_response)
            batching.flush_full(kind)
        return result


class BatchTask(OptimizedTask):
    """An `OptimizedTask` whose jobs leave in batches of the setting ``BATCH_SIZE``."""

    abstract = True
    batch_size = None


class DedupTask(OptimizedTask):
    """An `OptimizedTask` of which equal jobs wait or run only once."""

    abstract = True
    dedup = "until_executed"


def _run_alone(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a job of a bulk task that came in a message of its own."""
    return run_one(self, args, kwargs)


def _with_headers(options: Mapping[str, Any], headers: Mapping[str, str]) -> Mapping[str, Any]:
    if not headers:
        return options
    return {**options, "headers": {**(options.get("headers") or {}), **headers}}


def _has(options: Mapping[str, Any], *names: str) -> bool:
    return any(options.get(name) for name in names)
