"""The benchmark of endpoints: all states are asked the same, and what was sent is printed."""

import io
import json
import queue
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.benchmark.child import Child, Inbox
from redis_optimizer.management.benchmark.endpoints.plan import make_plan
from redis_optimizer.management.benchmark.endpoints.run import WORKER
from redis_optimizer.management.benchmark.endpoints.worker import can_move
from tests.servers import PATIENT

SETTINGS = "tests.management.polled"
OPTIONS = {
    "clients": 5,
    "interval": 0.4,
    "seconds": 2.0,
    "host": "polled.example",
    "verbosity": 0,
    "json": True,
}


def run(monkeypatch: pytest.MonkeyPatch, *paths: str, **options: Any) -> dict[str, Any]:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", SETTINGS)
    out = io.StringIO()
    call_command(
        "redis_optimizer_benchmark",
        "endpoints",
        *(f"--path={path}" for path in paths),
        stdout=out,
        **{**OPTIONS, **options},
    )
    return json.loads(out.getvalue())


def test_a_decorated_view_is_asked_as_often_and_costs_one_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is asked beside what a middleware answers, which has no view; the page has the table."""
    page = tmp_path / "report.html"
    report = run(monkeypatch, "/kept/", "/live/", html=page)
    requests = report["requests"] // 2
    assert requests == 25
    off, undecorated, decorated = report["rows"]
    asked = {"/kept/": {"200": requests}, "/live/": {"200": requests}}
    assert [row["statuses"] for row in report["rows"]] == [asked] * 3
    assert off["by_command"] == {"SET": requests}
    assert undecorated["by_command"]["SET"] == requests
    assert decorated["by_command"]["SET"] == 1
    assert [row["queries"] for row in report["rows"]] == [requests, requests, 1]
    for row in report["rows"]:
        times = row["times"]["/kept/"]
        assert times["view_p50_us"] <= times["request_p50_us"] <= times["request_p99_us"]
        assert row["times"]["/live/"]["view_p50_us"] is None
        assert row["times"]["/live/"]["request_p50_us"] > 0
    for words in ("switched off", "  undecorated", "  decorated", "\n/kept/\n", f"200: {requests}"):
        assert words in page.read_text()


def test_a_lifetime_that_a_view_was_given_is_undone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a view that is not decorated, which is asked beside it, costs the same in each state."""
    report = run(monkeypatch, "/told/", "/fresh/")
    requests = report["requests"] // 2
    off, undecorated, decorated = (row["queries"] - requests for row in report["rows"])
    assert (off, decorated) == (requests, 1)
    assert 1 < undecorated <= off  # those of one moment share a run


@pytest.mark.parametrize(
    ("paths", "options", "words"),
    [
        (["/broken/"], {}, "/broken/ answered 500"),
        (["/nothing/"], {}, "/nothing/ answered 404"),
        (["kept/"], {}, "must begin with a slash"),
        ([], {}, "Give --path"),
        (["/kept/"], {"seconds": 0.1, "clients": 1, "interval": 3600}, "--seconds is too short"),
        (["/kept/"], {"clients": 0}, "--clients must lie between"),
    ],
)
def test_what_makes_no_sense_is_named(
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    paths: list[str],
    options: dict[str, Any],
    words: str,
) -> None:
    settings.ROOT_URLCONF = SETTINGS
    with pytest.raises(CommandError, match=words):
        run(monkeypatch, *paths, **options)


def test_each_client_asks_for_each_path_at_its_own_moments() -> None:
    polls = make_plan(["/a", "/b"], clients=10, interval=2, seconds=10, seed=1)
    assert len(polls) == 100
    assert polls == sorted(polls)
    assert polls == make_plan(["/a", "/b"], clients=10, interval=2, seconds=10, seed=1)
    assert len({poll.at for poll in polls}) == 50
    assert all(0 <= poll.at < 10 for poll in polls)


@pytest.mark.parametrize(
    ("given", "can"),
    [
        ({"BACKEND": "shop.caches.OwnRedis", "LOCATION": "redis://h:6379/0"}, True),
        ({"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "a_table"}, False),
        (
            {"BACKEND": "django.core.cache.backends.filebased.Cache", "LOCATION": "/a"},
            False,
        ),
        ({"BACKEND": "django_redis.cache.RedisCache", "LOCATION": ["redis://h:6379/0"]}, False),
        ({"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}, False),
    ],
)
def test_only_a_cache_at_a_url_of_redis_moves(given: dict[str, Any], can: bool) -> None:
    assert can_move(given) is can


def test_a_process_that_is_done_waits_for_the_others(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", SETTINGS)
    order = {
        "url": server.url,
        "settings": {},
        "polls": [(0.0, "/live/")],
        "threads": 1,
        "host": OPTIONS["host"],
        "cookie": "",
        "tries": False,
    }
    inbox: Inbox = queue.SimpleQueue()
    child = Child(WORKER, inbox)
    try:
        child.tell(order)
        assert inbox.get(timeout=PATIENT) == (child, {"ready": {}})
        child.tell("go")
        said: dict[str, Any] | None = {}
        while "took" not in said:
            _, said = inbox.get(timeout=PATIENT)
            assert said is not None, child.complaint()
        with pytest.raises(queue.Empty):
            inbox.get(timeout=2)
    finally:
        child.stop()
    assert inbox.get(timeout=PATIENT) == (child, None)
