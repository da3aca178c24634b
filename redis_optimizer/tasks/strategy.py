"""The task that an envelope is a message of, and how a worker opens it.

Each job goes, as a message, to the strategy of its own task: revoked and expired jobs, limits,
events, acknowledgement, retries and lost children are Celery's own code, job by job.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from celery import Celery, Task, current_app, shared_task
from celery.exceptions import InvalidTaskError
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.message import Message as ReceivedMessage

from redis_optimizer.tasks import progress
from redis_optimizer.tasks.bulk import runs_together
from redis_optimizer.tasks.counts import counter
from redis_optimizer.tasks.dispatcher import Dispatcher
from redis_optimizer.tasks.envelope import NAME, NewerVersion, read, unpack
from redis_optimizer.tasks.feed import POOL, UNBOUNDED, Feed
from redis_optimizer.tasks.kombu.producers import broker_client
from redis_optimizer.tasks.kombu.sending import send
from redis_optimizer.tasks.opened import JobMessage, OpenEnvelope, Unit
from redis_optimizer.tasks.packed import Jobs
from redis_optimizer.tasks.progress import Bits
from redis_optimizer.tasks.records import BROKER_ERRORS
from redis_optimizer.tasks.unopened import as_it_came, jobs_named, tell_failed

__all__ = ["EnvelopeTask", "Opener", "batch"]

logger = logging.getLogger(__name__)

RETRY_AFTER: Final = 5.0  # seconds

REST: Final = 5.0
"""Seconds for which a worker leaves envelopes alone that came with one of a later release."""


class Opener:
    """What a consumer opens envelopes with.

    Args:
        app: The worker's.
        consumer: Celery's; it gets the feed as its attribute ``envelope_feed``.
    """

    def __init__(self, app: Celery, consumer: Any) -> None:
        self._app = app
        self._consumer = consumer
        self._callbacks: Iterable[Callable[..., Any]] = ()
        feed = getattr(consumer, "envelope_feed", None)
        if feed is None or not feed.is_open:  # tasks may be loaded anew while envelopes are open
            feed = consumer.envelope_feed = Feed(consumer, self._start)
        self.feed: Feed = feed
        self._dispatcher = Dispatcher(app, consumer, feed, self._guard)

    def open(
        self,
        message: ReceivedMessage,
        body: Any,
        ack: Callable[..., Any],
        reject: Callable[..., Any],
        callbacks: Iterable[Callable[..., Any]],
        **options: Any,
    ) -> None:
        """Take in an envelope: what Celery calls a task's message handler.

        Raises:
            celery.exceptions.InvalidTaskError: it is malformed. Celery logs that with the body,
                and rejects the message.
        """
        identity = message.headers.get("id")
        try:
            if not isinstance(identity, str):
                raise ValueError("it has no id")
            jobs = read(message.body, message.content_type, message.content_encoding)
        except NewerVersion as error:
            self._leave(message, ack, error)
            return
        except ValueError as error:
            said = f"envelope {identity} cannot be read: {error}"
            tell_failed(self._app, jobs_named(message), InvalidTaskError(said))
            # It is not kept here, nor its cause: they would keep each other, and what was decoded.
            raise InvalidTaskError(said) from None
        self._callbacks = callbacks
        if (known := self.feed.envelopes.get(identity)) is not None:
            self._drop(message, known, ack)
            return
        counter.open(len(jobs))
        if jobs.unsound:
            self._fail_unsound(identity, jobs)
        if message.headers.get("redelivered") or message.delivery_info.get("redelivered"):
            self._open_again(identity, jobs, ack)
            return
        logger.debug("Envelope %s of %d jobs received", identity, len(jobs))
        envelope = OpenEnvelope(identity, message, ack, jobs)
        envelope.finish(jobs.unsound)
        self.feed.add(envelope, self._units(envelope))

    def _fail_unsound(self, identity: str, jobs: Jobs) -> None:
        """Leave out jobs that would take the worker with them; their neighbours go on.

        Raises:
            celery.exceptions.InvalidTaskError: there are no others.
        """
        names = ", ".join(sorted(set(jobs.unsound.values())))
        reason = InvalidTaskError(
            f"envelope {identity} has jobs with headers that are not as Celery makes them: {names}"
        )
        unsound = {jobs.id(index): jobs.field(index, "task") for index in jobs.unsound}
        tell_failed(self._app, unsound, reason)
        if len(jobs.unsound) == len(jobs):
            raise reason

    def _drop(self, message: ReceivedMessage, known: OpenEnvelope, ack: Callable[..., Any]) -> None:
        """Leave it at the copy that is open: the producer, or the broker, sent it twice."""
        logger.warning("Envelope %s came twice, and is opened once", known.id)
        if message.delivery_tag != known.message.delivery_tag:  # else they have one ack in common
            ack(logger, self._consumer.connection_errors)

    def _leave(
        self, message: ReceivedMessage, ack: Callable[..., Any], reason: NewerVersion
    ) -> None:
        """Put an envelope back, behind the others, and take none for a while.

        Workers of the release that sent it are there, or will be.
        """
        identity, queue = message.headers["id"], message.delivery_info["routing_key"]
        try:
            send(self._app, [as_it_came(message)])
        except BROKER_ERRORS as error:
            logger.error(
                "Envelope %s could not be put back, again in %d s: %s", identity, RETRY_AFTER, error
            )
            retry = partial(self._leave_still, message, ack, reason)
            self._consumer.timer.call_after(RETRY_AFTER, self._soon, (retry,))
            return
        logger.warning(
            "Envelope %s is left in the queue %s: %s, which this worker does not know. It takes no "
            "more envelopes for %d s. To have it done with, start workers of the later release.",
            identity,
            queue,
            reason,
            REST,
        )
        self.feed.rest(message.channel, REST)
        ack(logger, self._consumer.connection_errors)

    def _open_again(self, identity: str, jobs: Jobs, ack: Callable[..., Any]) -> None:
        """Send what is not known to be done, each job alone.

        One of them may be what killed the worker that had it: it takes no other with it twice.
        """
        try:
            with broker_client(self._app) as client:
                size = len(jobs)
                finished = (
                    progress.load(self._app, client, identity, size) if client else Bits(size)
                )
            for index in jobs.unsound:
                finished.add(index)
            left = [job.again() for index, job in enumerate(jobs) if index not in finished]
            send(self._app, left)
        except BROKER_ERRORS as error:
            # Until it is acknowledged it counts as one that this worker has in hand.
            logger.error(
                "Envelope %s could not be divided, again in %d s: %s", identity, RETRY_AFTER, error
            )
            retry = partial(self._open_still, identity, jobs, ack)
            self._consumer.timer.call_after(RETRY_AFTER, self._soon, (retry,))
            return
        logger.warning(
            "Envelope %s came again: %d of its %d jobs were done, the others are sent singly",
            identity,
            len(jobs) - len(left),
            len(jobs),
        )
        ack(logger, self._consumer.connection_errors)
        if finished.left < len(jobs):
            with contextlib.suppress(*BROKER_ERRORS):  # it lapses
                progress.forget(self._app, [identity])

    def _soon(self, act: Callable[[], Any]) -> None:
        if not self._consumer.hub:  # the timer is a thread of its own
            self._consumer.call_soon(act)
        else:
            act()

    def _open_still(self, *divided: Any) -> None:
        if self.feed.is_open:  # else its channel is gone, or going: the broker has it again
            self._open_again(*divided)

    def _leave_still(self, *left: Any) -> None:
        if self.feed.is_open:
            self._leave(*left)

    def _units(self, envelope: OpenEnvelope) -> list[Unit]:
        units: dict[Any, tuple[list[int], dict[str, Any]]] = {}
        jobs, previous, runs = envelope.jobs, "", 0
        for index in range(len(jobs)):
            name = jobs.field(index, "task")
            if index in jobs.unsound:
                continue
            limits = jobs.header(index, "timelimit") or ()
            options = self._options(name, any(limits), bool(jobs.header(index, "eta")))
            key: Any
            if options.get("bulk"):
                # A time limit is that of a call: jobs share one where they have the same.
                key = name, *limits
            else:  # the order of jobs of several tasks is kept
                runs += previous != name
                key = runs, *options.items()
            previous = name
            units.setdefault(key, ([], options))[0].append(index)
        return [Unit(envelope, indexes, **options) for indexes, options in units.values()]

    def _options(self, name: str, has_limit: bool, has_eta: bool) -> dict[str, Any]:
        """Return what is to be said of a unit with a job."""
        if has_eta:
            return {"lane": UNBOUNDED}
        if self._consumer.task_buckets.get(name):
            # A rate limit counts jobs: with one, even those of a bulk task run one by one.
            return {"lane": name}
        task = self._app.tasks.get(name)
        if runs_together(task):
            return {"lane": POOL, "bulk": True}
        return {
            "lane": POOL,
            "shares": task is not None and not has_limit and self._may_share(task),
        }

    def _may_share(self, task: Any) -> bool:
        """Tell whether jobs may go to the pool several at a time.

        They can be sent again when one takes the process with it, and there is nothing that Celery
        would count or time job by job.
        """
        return bool(
            task.acks_late
            and task.time_limit is None
            and task.soft_time_limit is None
            and task.Request == Task.Request
            and not getattr(self._consumer.controller, "max_tasks_per_child", None)
        )

    def _start(self, unit: Unit) -> None:
        if unit.bulk or len(unit.indexes) > 1:
            self._dispatcher.start(unit)
        else:
            feed = self.feed
            job = JobMessage(unit, unit.indexes[0], feed.finish, feed.requeue)
            self._guard(job, self._hand_over)

    def _hand_over(self, job: JobMessage) -> None:
        try:
            strategy = self._consumer.strategies[job.source.task]
        except KeyError as error:
            self._consumer.on_unknown_task(None, job, error)
            return
        strategy(job, None, job.ack_log_error, job.reject_log_error, self._callbacks)

    def _guard(self, job: JobMessage, handle: Callable[[JobMessage], Any]) -> Any:
        """Do with a job what may fail, as Celery's consumer does; its neighbours go on."""
        try:
            return handle(job)
        except (InvalidTaskError, ContentDisallowed) as error:
            self._consumer.on_invalid_task(None, job, error)
        except DecodeError as error:
            self._consumer.on_decode_error(job, error)
        except Exception:
            # Alone it meets what it would have met without us.
            logger.exception("Job %s of an envelope could not be started", job.source.id)
            job.reject(requeue=True)
        return None


class EnvelopeTask(Task):  # type: ignore[type-arg]  # its arguments are of no concern here
    """A task whose messages are envelopes."""

    abstract = True
    acks_late = True
    ignore_result = True

    def Strategy(  # type: ignore[override]  # noqa: N802  # a name there, or what makes it
        self, task: Any, app: Celery, consumer: Any
    ) -> Callable[..., None]:
        """Return what takes an envelope in, for one consumer."""
        return Opener(app, consumer).open


@shared_task(base=EnvelopeTask, name=NAME)
def batch(packed: Any) -> None:
    """Send the jobs of an envelope singly, where somebody runs it instead of opening it."""
    send(current_app, unpack(packed))
