"""The consumer of a worker that is not there, for steps of it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from celery import Celery


class Consumer(SimpleNamespace):
    """A worker's consumer, whose timer the test is."""

    def __init__(self, app: Celery, *, hub: object = True) -> None:
        connection = app.connection_for_write()
        super().__init__(
            app=app,
            hostname="w1@host",
            connection=connection,
            task_consumer=SimpleNamespace(channel=connection.default_channel),
            hub=hub,
            timer=self,
            soon=[],
            cancelled=0,
        )

    def call_repeatedly(
        self, seconds: float, fun: Callable[..., Any], args: tuple[Any, ...]
    ) -> Any:
        self.seconds = seconds
        self.tick = lambda: fun(*args)
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def call_soon(self, fun: Callable[..., Any], *args: Any) -> None:
        self.soon.append(lambda: fun(*args))
