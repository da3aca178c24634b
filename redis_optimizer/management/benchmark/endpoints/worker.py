"""The project, asked as a web server would: `python -m ...benchmark.endpoints.worker`.

It talks JSON, one object a line. To the order on stdin it answers with a note once it is set up; to
"go" with the number of requests done, again and again, and with the result at last. The end of
stdin ends it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypedDict

from redis_optimizer.management.benchmark.endpoints.plan import Poll

__all__ = ["Order", "Stopwatch", "can_move"]

REPORT_EVERY = 0.25  # seconds
NOWHERE = "/redis-optimizer-benchmark/nothing-is-here/"


class Order(TypedDict):
    """What a worker has to do."""

    url: str  # of the server that all caches move to
    settings: dict[str, Any]  # what is changed in REDIS_OPTIMIZER
    polls: list[tuple[float, str]]
    threads: int
    host: str
    cookie: str
    tries: bool  # whether each path is asked for once before


def can_move(given: Mapping[str, Any]) -> bool:
    """Tell whether a cache of the settings is at one URL, for which another server can stand in."""
    location = given.get("LOCATION", "")
    schemes = ("redis://", "rediss://", "unix://")
    return isinstance(location, str) and location.startswith(schemes)


_view_took = threading.local()


class Stopwatch:
    """The last of the middlewares: times the view alone."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response

    def __call__(self, request: Any) -> Any:
        _view_took.began = None
        response = self._get_response(request)
        if _view_took.began is not None:
            _view_took.seconds = time.perf_counter() - _view_took.began
        return response

    def process_view(self, *args: Any) -> None:
        """Start: what comes next is the view."""
        _view_took.began = time.perf_counter()


class Site:
    """This project's request handler."""

    def __init__(self, host: str, cookie: str) -> None:
        from django.core.handlers.wsgi import WSGIHandler
        from django.test import RequestFactory

        self._handler = WSGIHandler()
        self._factory = RequestFactory()
        self._headers = {"HTTP_HOST": host} | ({"HTTP_COOKIE": cookie} if cookie else {})
        self._lock = threading.Lock()
        self.statuses: dict[str, Counter[str]] = {}
        self.took: dict[str, list[tuple[float, float | None]]] = {}
        """By path: seconds of each request, and of its view; None where a middleware answered."""
        self.queries = 0
        self.done = 0

    def ask(self, path: str) -> str:
        """Make one request and return the status of its response."""
        # As behind a proxy that ends TLS: sites that redirect to it answer at once.
        request = self._factory.get(path, secure=True, **self._headers)  # type: ignore[arg-type]
        status = ""

        def start_response(line: str, headers: Any, error: Any = None) -> Callable[[bytes], Any]:
            nonlocal status
            status = line
            return lambda data: None

        _view_took.seconds = None
        started = time.perf_counter()
        response = self._handler(request.environ, start_response)
        for _ in response:
            pass
        took = time.perf_counter() - started
        response.close()
        with self._lock:
            self.done += 1
            self.statuses.setdefault(path, Counter())[status[:3]] += 1
            self.took.setdefault(path, []).append((took, _view_took.seconds))
        return status

    def count_query(self, execute: Callable[..., Any], *args: Any) -> Any:
        """Count a query; called for each that is made."""
        with self._lock:
            self.queries += 1
        return execute(*args)

    def forget(self) -> None:
        """Count from here."""
        self.statuses, self.took, self.queries, self.done = {}, {}, 0, 0


@contextmanager
def counted_queries(site: Site) -> Iterator[None]:
    """Count the queries of all connections that are opened within the block, or are open."""
    from django.db import connections
    from django.db.backends.signals import connection_created

    def watch(connection: Any, **kwargs: Any) -> None:
        if site.count_query not in connection.execute_wrappers:
            connection.execute_wrappers.append(site.count_query)

    connection_created.connect(watch)
    for connection in connections.all(initialized_only=True):
        watch(connection)
    try:
        yield
    finally:
        connection_created.disconnect(watch)


def poll(site: Site, polls: list[Poll], threads: int) -> None:
    """Ask when it is time to."""
    started = time.monotonic()
    asked = []
    with ThreadPoolExecutor(threads) as pool:
        for at, path in polls:
            if (wait := started + at - time.monotonic()) > 0:
                time.sleep(wait)
            asked.append(pool.submit(site.ask, path))
    for each in asked:
        each.result()  # what the handler raised, it raises here


def report_progress(site: Site, ended: threading.Event) -> None:
    """Say how far it is, until it has ended."""
    while not ended.wait(REPORT_EVERY):
        say({"done": site.done})


def say(message: object) -> None:
    """Write one line to the parent."""
    print(json.dumps(message), flush=True)


def main() -> None:
    """Do what the order says."""
    order: Order = json.loads(sys.stdin.readline())
    import django
    from django.conf import settings
    from django.test.utils import override_settings

    changed = {
        "CACHES": {
            alias: {**given, "LOCATION": order["url"]} if can_move(given) else given
            for alias, given in settings.CACHES.items()
        },
        "REDIS_OPTIMIZER": {**getattr(settings, "REDIS_OPTIMIZER", {}), **order["settings"]},
        "MIDDLEWARE": [*settings.MIDDLEWARE, f"{Stopwatch.__module__}.{Stopwatch.__qualname__}"],
        "DEBUG": False,  # it keeps every query
    }
    with override_settings(**changed):
        django.setup()
        site = Site(order["host"], order["cookie"])
        polls = [Poll(*each) for each in order["polls"]]
        with counted_queries(site):
            # All states begin with the URLconf imported, and with nothing kept.
            site.ask(NOWHERE)
            paths = dict.fromkeys(each.path for each in polls) if order["tries"] else ()
            say({"ready": {path: site.ask(path) for path in paths}})
            if sys.stdin.readline().strip() != '"go"':
                return
            site.forget()
            ended = threading.Event()
            reporter = threading.Thread(target=report_progress, args=(site, ended))
            reporter.start()
            poll(site, polls, order["threads"])
            ended.set()
            reporter.join()
        say({"took": site.took, "statuses": site.statuses, "queries": site.queries})
        sys.stdin.readline()  # else it seems to have ended too early while others still ask


if __name__ == "__main__":
    # As a module of its own name: Django imports the middleware by it.
    from redis_optimizer.management.benchmark.endpoints import worker

    worker.main()
