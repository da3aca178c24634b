"""The jobs that a response sends while it streams: collected, and sent when it ends."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase

if TYPE_CHECKING:
    from redis_optimizer.tasks.block import Steps

__all__ = ["collect"]


def collect(response: HttpResponseBase) -> None:
    """Let the jobs that a response sends while it streams leave together.

    A file is left as it is: nothing is called for while it is read, and the server may have a
    quicker way to send it.

    Args:
        response: Any response.
    """
    if not response.streaming or not isinstance(response, StreamingHttpResponse):
        return
    if getattr(response, "file_to_stream", None) is not None:
        return
    from redis_optimizer.tasks.block import Steps

    content: Any = response.streaming_content
    response.streaming_content = (AsyncStream if response.is_async else Stream)(content, Steps())


class Stream:
    """An iterator of which each step is one of a batch.

    Args:
        content: What it iterates.
        steps: The batch.
    """

    def __init__(self, content: Iterator[bytes], steps: "Steps") -> None:
        self._content = content
        self._steps = steps

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            with self._steps.step():
                return next(self._content)
        except BaseException:  # StopIteration too
            self._steps.close()
            raise

    def close(self) -> None:
        """Send what was collected. Django calls this with the response's own close()."""
        self._steps.close()


class AsyncStream:
    """The same for an asynchronous iterator.

    Args:
        content: What it iterates.
        steps: The batch.
    """

    def __init__(self, content: AsyncIterator[bytes], steps: "Steps") -> None:
        self._content = content
        self._steps = steps

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            with self._steps.step():
                return await anext(self._content)
        except Exception:  # not CancelledError: who is cancelled must not wait; close() follows
            if self._steps.holds:
                await sync_to_async(self._steps.close, thread_sensitive=False)()
            raise

    def close(self) -> None:
        """Send what was collected. Django calls this, in a thread, when the client is gone too."""
        self._steps.close()
