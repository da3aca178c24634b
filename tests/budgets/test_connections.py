"""How many connections a web process opens whose threads cache, send jobs and read results."""

from pathlib import Path

import celery

from redis_optimizer.embedded import EmbeddedServer
from tests.benchmarks import connections

THREADS = 8
ROUNDS = 25


def measure(directory: Path, server: EmbeddedServer, kind: str) -> dict[str, int]:
    with connections.worker(directory, server.port, kind):
        return connections.measure(server.url, kind, THREADS, ROUNDS)


def test_a_web_process_with_8_threads(tmp_path: Path, server: EmbeddedServer) -> None:
    plain = measure(tmp_path, server, "plain")
    ours = measure(tmp_path, server, "ours")
    assert plain["right"] == ours["right"] == THREADS * ROUNDS
    # Before Celery 5.7 each thread needs a result backend of its own, with two connections.
    assert ours["connections"] <= (18 if celery.VERSION >= (5, 7) else 30)
    assert plain["connections"] > ours["connections"] + 8
