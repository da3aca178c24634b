"""A message, taken where kombu would send it."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery
from kombu import Producer, Queue
from kombu.utils.json import dumps

from redis_optimizer.tasks.kombu.producers import pooled_producer
from redis_optimizer.tasks.message import Message

__all__ = ["Capture"]

_connections: "WeakKeyDictionary[Celery, Any]" = WeakKeyDictionary()


class Capture(Producer):
    """A producer that hands each message over instead of sending it.

    It does what kombu's own does, serialising and compressing included, up to the point where a
    channel would be needed; so an argument that cannot be serialised fails at the call.

    Who asks for its channel gets one of the app's, until the block ends, and what is published then
    is sent at once. The backend of ``rpc://`` does: as a job is called for, it declares the queue
    of the answers, which costs the round trip that waiting would save.

    Args:
        app: Whose broker the messages are for.
        take: Called with each message, in the thread that publishes it.
    """

    def __init__(self, app: Celery, take: Callable[[Message], None]) -> None:
        super().__init__(None, auto_declare=False)  # type: ignore[arg-type]  # as pools do
        self.__connection__ = _unused_connection(app)  # type: ignore[misc]  # pools set it, too
        self._app = app
        self._take = take
        self._sender: Any = None
        self._stack = ExitStack()

    def __exit__(self, *exc_info: Any) -> None:
        self._sender = None
        self._stack.__exit__(*exc_info)

    @property
    def channel(self) -> Any:  # type: ignore[override]  # nobody sets it
        """Return a channel, with which messages are sent from now on."""
        if self._sender is None:
            self._sender = self._stack.enter_context(pooled_producer(self._app))
        return self._sender.channel

    def publish(self, body: Any, *args: Any, **options: Any) -> None:
        """Serialise a message, as `kombu.Producer.publish` does, and hand it over."""
        if self._sender is not None:
            self._sender.publish(body, *args, **options)
            return
        # A retry would be of the sending, which comes later.
        super().publish(body, *args, **(options | {"retry": False}))

    def _publish(  # type: ignore[override]  # what is not needed is taken by *args
        self,
        body: str | bytes,
        priority: int | None,
        content_type: str,
        content_encoding: str,
        headers: dict[str, Any],
        properties: dict[str, Any],
        routing_key: str,
        mandatory: bool,
        immediate: bool,
        exchange: str,
        declare: Sequence[Any],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        reply_to = properties.get("reply_to")
        if isinstance(reply_to, Queue):
            properties["reply_to"] = reply_to.name
        # What cannot be serialised must fail here, for this call alone.
        about = dumps([headers, properties])
        self._take(
            Message(
                id=headers.get("id", ""),
                task=headers.get("task", ""),
                body=body,
                content_type=content_type,
                content_encoding=content_encoding,
                headers=_copied(headers),
                properties=_copied(properties),
                exchange=exchange,
                routing_key=routing_key,
                priority=_as_number(priority),
                declare=tuple(declare or ()),
                size=len(body) + len(about),
            )
        )


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    """Return what a site may change before it is sent, as it is now."""
    return {
        name: deepcopy(value) if value and isinstance(value, dict | list) else value
        for name, value in values.items()
    }


def _as_number(priority: Any) -> int:
    """Return a priority as AMQP has it: an octet, and 0 for what is no number.

    Redis has ten priorities, to which kombu limits it as it sends.
    """
    try:
        return max(0, min(255, int(priority)))
    except (TypeError, ValueError):
        return 0


def _unused_connection(app: Celery) -> Any:
    """Return a connection that is never opened: Celery asks it which errors to translate."""
    if app not in _connections:
        _connections[app] = app.connection_for_write()
    return _connections[app]
