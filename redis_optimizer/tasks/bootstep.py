"""What a worker does to get envelopes: a bootstep of its consumer."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import Any, Final

from celery import Celery, bootsteps, signals
from celery.worker.consumer.tasks import Tasks
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.utils.uuid import uuid

from redis_optimizer.conf import get_settings
from redis_optimizer.tasks.announce import REFRESH, announce, others, withdraw
from redis_optimizer.tasks.celery_internals import close_when_lost, is_under_sentinel
from redis_optimizer.tasks.envelope import batch_queue, plain_queue
from redis_optimizer.tasks.explode import explode
from redis_optimizer.tasks.heartbeat import Heartbeat
from redis_optimizer.tasks.kombu.producers import visibility_timeout
from redis_optimizer.tasks.stalled import Stall

__all__ = ["Envelopes"]

logger = logging.getLogger(__name__)

LOOK: Final = 5.0  # seconds between two looks at what the worker consumes; they cost no command
HAND_BACK: Final = 4  # part of the visibility timeout that a job may wait for its turn
EXPLODE: Final = 2.0  # seconds that a worker that stops spends on envelopes nobody else would open


class Envelopes(bootsteps.StartStopStep):
    """Consume the envelopes of each queue that the worker consumes, and say so in Redis."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        # Two workers may have one name; one of them must not withdraw the other.
        self._member = f"{consumer.hostname}/{uuid()}"
        self._queues: set[str] = set()
        self._announced: set[str] = set()
        self._announce_at = 0.0
        self._timer: Any = None
        self._stall: Stall | None = None
        self._is_closing = False

    def start(self, consumer: Any) -> None:
        """Begin, when the broker is connected; also after its connection was lost."""
        if consumer.connection.transport.driver_type != "redis":
            return
        channel = consumer.task_consumer.channel
        close_when_lost(channel)
        self._stall = Stall(channel) if is_under_sentinel(channel) else None
        self._queues = set()
        self._announce_at = 0.0  # the server may have lost it
        self._follow(consumer, consume=False)  # the worker's loop begins to
        wait = min(LOOK, visibility_timeout(consumer.app) / HAND_BACK / 4)
        self._timer = consumer.timer.call_repeatedly(wait, self._look, (consumer,))

    def close(self, consumer: Any) -> None:
        """Begin to stop for good: what other workers could do is handed to them at once."""
        self._is_closing = True
        self._stop_timer()
        queues = self._announced
        self._leave(consumer, queues)
        if feed := self._feed(consumer):
            feed.close()
        self._sweep(consumer, queues)

    def stop(self, consumer: Any) -> None:
        """Stop, because the worker does, or because the broker's connection is lost."""
        self._stop_timer()
        if not self._is_closing and (feed := self._feed(consumer)):
            feed.abandon()

    def terminate(self, consumer: Any) -> None:
        """Stop at once, as `stop` does."""
        self.stop(consumer)

    def shutdown(self, consumer: Any) -> None:
        """End, when the pool is gone and the broker still connected."""
        if feed := self._feed(consumer):
            feed.wind_up()

    def _look(self, consumer: Any) -> None:
        # With some pools the timer is a thread of its own.
        if consumer.hub:
            self._follow(consumer)
        else:
            consumer.call_soon(self._follow, consumer)

    def _follow(self, consumer: Any, consume: bool = True) -> None:
        """Consume beside each queue that of its envelopes; remote control may change them."""
        if consumer.task_consumer is None or consumer.connection is None:
            return
        if self._stall is not None:
            self._stall.end()
        names = {
            queue.name
            for queue in consumer.task_consumer.queues
            if queue.exchange.type != "fanout" and plain_queue(queue.name) is None
        }
        for name in names - self._queues:
            # Without an exchange it needs no binding: that would be commands for nothing.
            consumer.task_consumer.add_queue(
                Queue(batch_queue(name), Exchange(""), routing_key=batch_queue(name))
            )
        if names - self._queues and consume:
            consumer.task_consumer.consume()
        for name in self._queues - names:
            consumer.task_consumer.cancel_by_queue(batch_queue(name))
        gone, self._queues = self._queues - names, names
        if left := gone & self._announced:
            self._leave(consumer, left)
            self._sweep(consumer, left)
        if names != self._announced or monotonic() >= self._announce_at:
            self._arrive(consumer, names)
        if feed := self._feed(consumer):
            feed.hand_back(visibility_timeout(consumer.app) / HAND_BACK)

    def _arrive(self, consumer: Any, queues: set[str]) -> None:
        self._announce_at = monotonic() + REFRESH
        self._announced = set(queues)
        if not get_settings().ENABLED or not queues:
            return
        # A worker that sends no jobs needs no other connection for it.
        channel = consumer.task_consumer.channel
        with _warning("That this worker opens envelopes could not be announced: %s"):
            announce(consumer.app, self._member, queues, channel)

    def _leave(self, consumer: Any, queues: set[str]) -> None:
        self._announced = self._announced - queues
        if queues and _is_connected(consumer):
            with _warning("That this worker opens envelopes could not be withdrawn: %s"):
                withdraw(consumer.app, self._member, queues)
                consumer.left_queues = queues

    def _sweep(self, consumer: Any, queues: set[str]) -> None:
        """See to it that the last one leaves no envelopes behind, whoever takes over."""
        if queues and _is_connected(consumer):
            with _warning("Envelopes may be left: %s"):
                sweep(consumer.app, queues)

    def _feed(self, consumer: Any) -> Any:
        return getattr(consumer, "envelope_feed", None)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


def sweep(app: Celery, queues: Iterable[str]) -> None:
    """Turn the envelopes of queues that no worker opens into plain messages, for two seconds.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    ends = monotonic() + EXPLODE
    for queue in queues:
        left = ends - monotonic()
        if not others(app, queue) and not explode(app, queue, seconds=left).is_complete:
            logger.warning(
                "Envelopes are left for queue %s, which no worker opens: "
                "see redis_optimizer_flush --explode",
                queue,
            )


@contextlib.contextmanager
def _warning(text: str) -> Iterator[None]:
    """Say that the broker cannot be reached, or refuses, and go on."""
    try:
        yield
    except OperationalError as error:
        logger.warning(text, error)


def _is_connected(consumer: Any) -> bool:
    # To connect anew may take longer than a worker has to stop.
    return consumer.connection is not None and consumer.connection.connected


def _add(sender: Any, **kwargs: Any) -> None:
    sender.app.steps["consumer"].update({Envelopes, Heartbeat})


def _sweep(sender: Any, **kwargs: Any) -> None:
    # As it closes its connection kombu puts back what it had just taken.
    queues = getattr(getattr(sender, "consumer", None), "left_queues", ())
    with contextlib.suppress(OperationalError):
        sweep(sender.app, queues)


signals.worker_init.connect(_add, dispatch_uid="redis_optimizer.envelopes")
signals.worker_shutdown.connect(_sweep, dispatch_uid="redis_optimizer.envelopes")
