"""Passwords in URLs are never told: not in what is printed, nor raised, nor logged."""

import logging
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from redis_optimizer.checks.caches import check_caches
from redis_optimizer.embedded import HOST, EmbeddedServer, free_port
from redis_optimizer.stats import gather
from tests.tasks.processes import Site

PASSWORD = "swordfish"
TRY_ALL = """
import logging
logging.basicConfig(level=logging.DEBUG)
logging.getLogger("kombu").setLevel(logging.INFO)
from django.core.cache import cache
from django.core.management import call_command
def attempt(act):
    try:
        act()
    except BaseException as error:
        print(type(error).__name__, error)
attempt(lambda: [cache.get(str(n)) for n in range(3)])
for name, options in (
    ("doctor", {"seconds": 0.1}),
    ("stats", {}),
    ("switch", {"part": "endpoints", "state": "off"}),
    ("clear", {"cache": ["default"], "interactive": False}),
    ("prune", {}),
    ("flush", {}),
    ("flush", {"explode": True}),
):
    print(name)
    attempt(lambda: call_command(f"redis_optimizer_{name}", **options))
attempt(lambda: call_command("check"))
"""


@pytest.mark.parametrize("is_there", [True, False], ids=["answers", "unreachable"])
def test_by_commands(tmp_path: Path, is_there: bool) -> None:
    with EmbeddedServer(args=["--requirepass", PASSWORD]) as server:
        port = server.port if is_there else free_port()
        url = f"redis://:{PASSWORD}@{HOST}:{port}"
        backend = "redis_optimizer.cache.TieredCache"
        settings = {
            "CACHES": {
                "default": {
                    **{"BACKEND": backend, "LOCATION": f"{url}/1"},
                    "OPTIONS": {"L1": {"START_AFTER": 0}, "SOCKET_CONNECT_TIMEOUT": 1},
                }
            },
            "CELERY_BROKER_URL": f"{url}/0",
            "CELERY_RESULT_BACKEND": f"redis_optimizer.tasks.results:RedisBackend+{url}/0",
            "CELERY_BROKER_CONNECTION_RETRY": False,
            "CELERY_TASK_PUBLISH_RETRY": False,
            "CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS": {"retry_policy": {"timeout": 0.1}},
        }
        done = Site(tmp_path, port, settings=settings).produce(TRY_ALL)
    told = done.stdout + done.stderr
    assert f"{HOST}:{port}" in told
    assert PASSWORD not in told


@pytest.mark.parametrize(
    "location",
    [
        f"redis://:{PASSWORD}@{HOST}:1/0",
        f"redis://user:{PASSWORD}@no.such.host.invalid:1/0",
        f"redis://:{PASSWORD}@{HOST}:port/0",
        f"reddis://:{PASSWORD}@{HOST}:1/0",
    ],
)
def test_of_caches_that_cannot_be_reached(location: str, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"BACKEND": "redis_optimizer.cache.TieredCache", "LOCATION": location}
    options: Any = {"SOCKET_CONNECT_TIMEOUT": 1, "L1": {"START_AFTER": 0}}
    told = []
    with override_settings(CACHES={"default": {**settings, "OPTIONS": options}}):
        told += [str(message) for message in check_caches()]
        with caplog.at_level(logging.DEBUG):
            for act in (lambda: caches["default"].get("k"), lambda: gather(0.1)):
                try:
                    told.append(str(act()))
                except Exception as error:
                    told += [str(error), repr(error)]
    assert PASSWORD not in "\n".join([*told, caplog.text])


@pytest.mark.parametrize("rest", ["/x", "#x", "?x", "[x"])
def test_of_urls_that_cannot_be_read(rest: str) -> None:
    location = f"redis://{HOST}:1/0,redis://:{PASSWORD}{rest}@{HOST}:1/0"
    settings = {"BACKEND": "redis_optimizer.cache.TieredCache", "LOCATION": location}
    with override_settings(CACHES={"default": settings}):
        (error,) = check_caches()
    assert error.id == "redis_optimizer.E002"
    assert "quote the password" in error.msg
    assert PASSWORD not in str(error)
