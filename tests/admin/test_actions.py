"""What can be done from the page, what is asked before, and what is told afterwards."""

import itertools
from typing import Any

import pytest
import redis
from celery import Celery
from django.contrib.messages import get_messages
from django.core.cache import caches
from django.test import Client

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.stats import orders
from redis_optimizer.stats.gathered import Gathered, Silent
from redis_optimizer.switches import PARTS
from tests.admin.conftest import LogIn
from tests.admin.site import ACTIONS, PAGE
from tests.stats.processes import Reader
from tests.tasks.results import make_app, store


@pytest.fixture
def client(log_in: LogIn) -> Client:
    return log_in("view_overview", *ACTIONS.values())


def do(client: Client, name: str, **given: str) -> list[str]:
    """Do it, and return what the user is told."""
    response = client.post(f"{PAGE}{name}/", given)
    assert response.status_code == 302, response.content
    assert response["Location"] == PAGE
    return [str(message) for message in get_messages(response.wsgi_request)]


def logged() -> list[tuple[str, str]]:
    from django.contrib.admin.models import LogEntry

    entries = LogEntry.objects.order_by("pk")
    return [(entry.object_repr, entry.get_change_message()) for entry in entries]


def test_all_processes_forget(client: Client, processes: list[Reader], admin: redis.Redis) -> None:
    processes[0].do("cache.set('kept', 1)")
    for reader in processes:
        reader.do("[cache.get('kept') for _ in range(3)]")
    (told,) = do(client, "clear-local")
    for reader in processes:
        assert f"pid {reader.pid} on" in told
        reader.do("assert cache.stats()['valid_entries'] == 0")
    assert admin.exists("t:1:kept")
    ((title, words),) = logged()
    assert title == "What processes keep was cleared"
    assert words.count("entr") == 2


def test_one_process_forgets(client: Client, processes: list[Reader]) -> None:
    processes[0].do("cache.set('kept', 1)")
    rows = client.get(PAGE).context["processes"]  # who answers has heard of that
    for reader in processes:
        reader.do("[cache.get('kept') for _ in range(3)]")
    (id,) = [row["id"] for row in rows if row["pid"] == processes[0].pid]
    (told,) = do(client, "clear-local", only=id)
    assert f"pid {processes[0].pid} on" in told
    assert str(processes[1].pid) not in told
    processes[0].do("assert cache.stats()['valid_entries'] == 0")
    processes[1].do("hits = cache.tier.store.hits; cache.get('kept')")
    processes[1].do("assert cache.tier.store.hits == hits + 1")


def test_a_cache_is_cleared_once_that_is_confirmed(
    client: Client, processes: list[Reader], server: EmbeddedServer
) -> None:
    caches["plain"].set("a", 1)
    question = client.post(f"{PAGE}clear-cache/", {"alias": "plain"})
    text = question.content.decode()
    assert "whatever else is in that database" in text
    assert f"127.0.0.1:{server.port}/0" in text
    assert caches["plain"].get("a") == 1
    assert logged() == []
    (told,) = do(client, "clear-cache", alias="plain", confirmed="yes")
    assert caches["plain"].get("a") is None
    assert f"pid {processes[0].pid} on" in told
    assert [title for title, _ in logged()] == ["The cache “plain” was cleared"]


def test_buffered_jobs_are_sent(client: Client, processes: list[Reader]) -> None:
    (told,) = do(client, "flush")
    assert told.startswith("Buffered jobs were sent")
    assert told.count(": 0 jobs") == len(processes)
    assert [title for title, _ in logged()] == ["Buffered jobs were sent"]


def test_a_part_is_switched_off_and_on(client: Client, processes: list[Reader]) -> None:
    question = client.post(f"{PAGE}switch-off/", {"part": "cache"}).content.decode()
    assert "off in all processes" in question
    assert orders.read_states()["cache"].on
    (told,) = do(client, "switch-off", part="cache", confirmed="yes")
    try:
        assert told.count(": off") == len(processes)
        assert not orders.read_states()["cache"].on
        for text in (client.get(PAGE).content.decode(), str(client.get(f"{PAGE}data/").json())):
            assert "The part “cache” is switched off" in text
            assert "by ann" in text
        processes[0].do("hits = cache.tier.store.hits; cache.get('a'); cache.get('a')")
        processes[0].do("assert cache.tier.store.hits == hits")
    finally:
        (told,) = do(client, "switch-on", part="cache")
    assert told.count(": on") == len(processes)
    assert "is switched off" not in client.get(PAGE).content.decode()
    titles = [title for title, _ in logged()]
    assert titles == [f"The part “cache” was switched {state}" for state in ("off", "on")]


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("clear-local", {"only": "x"}, "no such process"),
        ("clear-local", {"only": "0" * 32}, "does not answer"),
        ("clear-cache", {"alias": "nowhere"}, "no such cache"),
        ("clear-cache", {}, "no such cache"),
        ("switch-on", {"part": "nothing"}, "no such part"),
        ("switch-off", {}, "no such part"),
    ],
)
def test_what_makes_no_sense_is_refused(
    client: Client, processes: list[Reader], name: str, given: dict[str, str], words: str
) -> None:
    (told,) = do(client, name, confirmed="yes", **given)
    assert words in told
    assert logged() == []


@pytest.mark.parametrize("name", ["clear-local", "flush", "switch-on", "clear-cache"])
def test_without_redis_nothing_is_done(client: Client, settings: Any, name: str) -> None:
    with EmbeddedServer() as own:
        gone = own.url
    down = {"LOCATION": gone, "OPTIONS": {"IGNORE_EXCEPTIONS": True}}  # which hides it elsewhere
    settings.CACHES = {"default": settings.CACHES["default"] | down}
    (told,) = do(client, name, part=PARTS[0], alias="default", confirmed="yes")
    assert "could not be cleared" in told or "Nothing was done: Redis does not answer" in told
    assert logged() == []


@pytest.mark.parametrize("name", ["clear-local", "flush", "switch-on"])
def test_without_a_channel_nothing_is_done(client: Client, settings: Any, name: str) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    (told,) = do(client, name, part=PARTS[0])
    assert "no cache of this site has a channel" in told
    assert logged() == []


def test_who_did_not_answer_is_told_and_logged(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Gathered(silent=[Silent(17, "h:1")], missing=1, unkept=["refused"])
    monkeypatch.setattr(orders, "switch", lambda *args, **options: silent)
    done, unkept, missing = do(client, "switch-on", part="cache")
    assert "switched on" in done
    assert "refused" in unkept
    assert "pid 17 (h:1)" in missing
    assert "pid 17 (h:1)" in logged()[0][1]


class TestPrune:
    @pytest.fixture
    def app(self, monkeypatch: pytest.MonkeyPatch) -> Celery:
        """Make an app with results, and have the process use it."""
        app = make_app()
        monkeypatch.setattr("celery.app.app_or_default", lambda: app)
        return app

    def test_results_are_pruned_once_that_is_confirmed(
        self, app: Celery, client: Client, admin: redis.Redis
    ) -> None:
        store(app, "a")
        question = client.post(f"{PAGE}prune/").content.decode()
        assert "redis_optimizer_prune" in question
        assert logged() == []
        (told,) = do(client, "prune", confirmed="yes")
        assert "1 looked at, 0 found to go" in told
        ((title, words),) = logged()
        assert title == "Results were pruned"
        assert words.startswith("redis://")

    def test_when_the_time_is_up_the_command_is_named(
        self, app: Celery, settings_in_force: None, admin: redis.Redis
    ) -> None:
        from redis_optimizer.admin import pruning

        store(app, "a")
        done = pruning.prune(2.5, itertools.count().__next__)  # it is told of three times
        assert "1 looked at" in done.lines[0]
        assert "manage.py redis_optimizer_prune" in done.warnings[0]

    def test_without_a_store_it_says_so(self, app: Celery, client: Client) -> None:
        app.conf.result_backend = "disabled://"
        (told,) = do(client, "prune", confirmed="yes")
        assert "no result backend" in told
        assert logged() == []

    def test_without_celery_it_says_so(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from redis_optimizer.admin import pruning

        monkeypatch.setattr(pruning, "uses_celery", lambda: False)
        (told,) = do(client, "prune", confirmed="yes")
        assert "no Celery app" in told
