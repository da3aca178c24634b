"""The Redis backend where the server is reached by other ways than TCP."""

from pathlib import Path

import redis
from celery import states

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.tasks.results import SentinelBackend
from tests.servers import connect, sentinel
from tests.tasks.results import KEPT, context, make_app

PREFIX = "redis_optimizer.tasks.results:"


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with EmbeddedServer(args=("--unixsocket", str(path))) as server:
        app = make_app(result_backend=f"{PREFIX}RedisBackend+socket://{path}?virtual_host=2")
        app.backend.store_result("j", 1, states.SUCCESS, request=context("j"))
        with redis.Redis(HOST, server.port, db=2) as client:
            assert client.exists("celery-task-meta-j", KEPT) == 2
        assert app.AsyncResult("j").get(timeout=60) == 1
        app.backend.client.close()


def test_sentinel_finds_the_primary() -> None:
    with sentinel() as group:
        hosts = ";".join(f"sentinel://{host}:{port}" for host, port in group.addresses)
        app = make_app(
            result_backend=f"{PREFIX}SentinelBackend+{hosts}",
            result_backend_transport_options={"master_name": group.name},
        )
        assert type(app.backend) is SentinelBackend
        app.backend.store_result("j", 1, states.SUCCESS, request=context("j"))
        with connect(group.primary) as client:
            assert client.exists("celery-task-meta-j", KEPT) == 2
        assert app.AsyncResult("j").get(timeout=60) == 1
        app.backend.client.close()
