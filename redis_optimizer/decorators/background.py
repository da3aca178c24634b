"""Run something in the background of a request: in a thread that cleans up behind itself."""

import contextvars
import threading
from collections.abc import Callable
from typing import Final

from django.core.cache import caches
from django.db import connections
from django.utils import timezone, translation

__all__ = ["THREAD_NAME", "run_in_thread"]

THREAD_NAME: Final = "redis-optimizer-renewal"


def run_in_thread(run: Callable[[], object], aliases: tuple[str, ...] = ()) -> None:
    """Run a function in a daemon thread, in the caller's context, language and time zone.

    Args:
        run: The function; it must not raise.
        aliases: Caches that it uses. It gets its own objects: not all backends can be shared.

    Raises:
        RuntimeError: no thread can be started.
    """

    # asgiref hides what it keeps in a context from threads that it did not start itself.
    language, zone = translation.get_language(), timezone.get_current_timezone()

    def work() -> None:
        for alias in aliases:
            caches[alias] = caches.create_connection(alias)
        try:
            with translation.override(language), timezone.override(zone):
                run()
        finally:
            connections.close_all()
            for alias in aliases:
                caches[alias].close()

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=THREAD_NAME, daemon=True).start()
