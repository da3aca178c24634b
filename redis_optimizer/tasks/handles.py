"""Results of jobs that may still be in this process."""

from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery
from celery.app.task import Context

from redis_optimizer.tasks import batching
from redis_optimizer.tasks.kinds import DEDUP_HEADER
from redis_optimizer.tasks.message import Message, decode

__all__ = ["install_results", "result_class"]

_classes: "WeakKeyDictionary[Celery, type[Any]]" = WeakKeyDictionary()


class SendsFirst:
    """Mixed into an app's `AsyncResult`: who waits for a job has it sent first."""

    id: str
    app: Celery
    backend: Any
    parent: Any

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """Send the job, wait for it and return its result."""
        self._send_first()
        return super().get(*args, **kwargs)  # type: ignore[misc]

    wait = get

    @property
    def state(self) -> str:
        """Send the job and return its state."""
        self._send_first()
        return super().state  # type: ignore[misc, no-any-return]

    status = state

    @property
    def result(self) -> Any:
        """Send the job and return its result as far as it is known."""
        self._send_first()
        return super().result  # type: ignore[misc]

    info = result

    @property
    def supports_native_join(self) -> bool:
        """Send everything: a `ResultSet` asks its first member before it waits for all."""
        batching.flush_all()
        return bool(super().supports_native_join)  # type: ignore[misc]

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """Take the job out, or tell the workers when it has left."""
        if message := batching.withdraw(self.id):
            self._revoke_here(message)
        else:
            super().revoke(*args, **kwargs)  # type: ignore[misc]

    def _send_first(self) -> None:
        if self.parent is None:
            batching.flush_job(self.id)
        else:  # a step of a chain, which is sent when the steps before it have run
            batching.flush_all()

    def _revoke_here(self, message: Message) -> None:
        from redis_optimizer.tasks.locks import release  # which needs batching itself

        # First: storing its state may fail.
        if key := message.headers.get(DEDUP_HEADER):
            release(self.app, key, self.id)
        self.backend.mark_as_revoked(
            self.id,
            "revoked",
            request=_request(message),
            store_result=not message.headers.get("ignore_result"),
        )


class SendsAllFirst:
    """Mixed into an app's `GroupResult`: who waits for a group has everything sent first."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """Send what waits here, wait for all results and return them."""
        batching.flush_all()
        return super().get(*args, **kwargs)  # type: ignore[misc]

    def join(self, *args: Any, **kwargs: Any) -> Any:
        """Send what waits here, wait for all results and return them."""
        batching.flush_all()
        return super().join(*args, **kwargs)  # type: ignore[misc]

    def join_native(self, *args: Any, **kwargs: Any) -> Any:
        """Send what waits here, wait for all results and return them."""
        batching.flush_all()
        return super().join_native(*args, **kwargs)  # type: ignore[misc]


def _request(message: Message) -> Context:
    """Return what a worker would tell the backend of a job: its chord must hear of it, too."""
    try:
        args, kwargs, embed = decode(
            message.body,
            message.content_type,
            message.content_encoding,
            message.headers.get("compression"),
            accept={message.content_type},  # this process wrote it
        )
    except Exception:  # nor could a worker
        args, kwargs, embed = [], {}, {}
    return Context(
        message.headers,
        reply_to=message.properties.get("reply_to"),
        correlation_id=message.properties.get("correlation_id"),
        args=args,
        kwargs=kwargs,
        **embed,
    )


def result_class(app: Celery) -> type[Any]:
    """Return an app's `AsyncResult`, which sends its job first."""
    if app not in _classes:
        _classes[app] = type("AsyncResult", (SendsFirst, app.AsyncResult), {})
    return _classes[app]


def install_results(app: Celery) -> None:
    """Let all results of an app send their jobs first, those of ordinary tasks as well."""
    app.AsyncResult = result_class(app)  # type: ignore[misc]
    app.GroupResult = type("GroupResult", (SendsAllFirst, app.GroupResult), {})  # type: ignore[misc]
