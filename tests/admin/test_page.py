"""What the page shows, and what that costs."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from django.test import Client

from redis_optimizer import switches
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.stats import orders
from tests.admin.conftest import LogIn
from tests.admin.site import ACTIONS, DATA, PAGE
from tests.servers import wait_until
from tests.stats.processes import Reader

VIEW = "view_overview"
LARGEST = 14
"""Commands that a refresh may cost with eight processes."""


@pytest.fixture
def client(log_in: LogIn) -> Client:
    return log_in(VIEW)


def text_of(client: Client) -> str:
    response = client.get(PAGE)
    assert response.status_code == 200
    return response.content.decode()


def wait_text(client: Client, part: str) -> str:
    """Return the page's text once it has a part: on a busy machine any process may be late."""

    def find() -> str:
        text = text_of(client)
        return text if part in text else ""

    return str(wait_until(find))


def test_it_shows_all_processes_and_the_server(
    client: Client, processes: list[Reader], server: EmbeddedServer
) -> None:
    text = wait_text(client, "2 processes answered.")
    for reader in processes:
        assert f'<td class="ro-n">{reader.pid}</td>' in text
    assert f"Server 127.0.0.1:{server.port}/0" in text
    assert "noeviction" in text
    assert "PUBLISH" in text
    rows = client.get(PAGE).context["processes"]
    assert [(row["connections"], row["connected_for"]) for row in rows] == [
        ("2", "broker 0, cache 1, channel 1, results 0")
    ] * 2


def count(client: redis.Redis) -> int:
    """Return the commands that a server counted, but for ours and heartbeats of channels."""
    calls = {name: each["calls"] for name, each in client.info("commandstats").items()}
    return sum(calls.values()) - calls["cmdstat_config|resetstat"] - calls.get("cmdstat_ping", 0)


@pytest.mark.parametrize("asks", [False, True], ids=["free", "password"])
def test_a_refresh_costs_what_it_says_and_no_more_than_it_may(
    client: Client,
    processes: list[Reader],
    admin: redis.Redis,
    server: EmbeddedServer,
    settings: Any,
    asks: bool,
) -> None:
    if asks:
        admin.execute_command("ACL", "SETUSER", "asker", "on", ">secret", "~*", "&*", "+@all")
        location = server.url.replace("://", "://asker:secret@")
        settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": location}}
    wait_text(client, "2 processes answered.")  # it is connected, and no answer is on its way
    admin.config_resetstat()
    found = client.get(DATA).json()
    assert found["commands"] == count(admin) == 2 + 2 * asks + len(processes) + 2
    assert found["commands"] - len(processes) + 8 <= LARGEST
    assert client.get(PAGE).context["seen"].commands == found["commands"]
    assert found["cost"] == f"This refresh cost {found['commands']} commands."


def test_what_is_switched_off_is_read_where_nobody_tells(
    client: Client, settings: Any, admin: redis.Redis
) -> None:
    settings.REDIS_OPTIMIZER = {"NAMESPACE": "another"}
    orders.switch("dedup", False, by="bob")
    switches.reset()
    client.get(DATA)
    admin.config_resetstat()
    found = client.get(DATA).json()
    assert found["commands"] == count(admin) == 2 + 2 + 1
    assert "by bob" in found["parts"]["banner"]


class TestBroker:
    @pytest.fixture
    def broker(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[tuple[EmbeddedServer, Celery]]:
        """Run a server of the broker's own, that asks for a password."""
        client.get(DATA)  # connects to the cache's server, whatever ran before
        with EmbeddedServer(args=("--requirepass", "Pa55w0rd")) as own:
            app = Celery(broker=f"redis://:Pa55w0rd@127.0.0.1:{own.port}/3", set_as_current=False)
            monkeypatch.setattr("celery.app.app_or_default", lambda: app)
            yield own, app

    def test_it_is_shown_for_two_commands(
        self,
        client: Client,
        processes: list[Reader],
        admin: redis.Redis,
        broker: tuple[EmbeddedServer, Celery],
    ) -> None:
        own, _app = broker
        with redis.Redis(port=own.port, password="Pa55w0rd") as its:
            before = sum(each["calls"] for each in its.info("commandstats").values())
            admin.config_resetstat()
            first = client.get(DATA).json()["commands"] - count(admin)
            after = sum(each["calls"] for each in its.info("commandstats").values())
            assert first == after - before - 1  # our INFO
            its.config_resetstat()
            admin.config_resetstat()
            found = client.get(DATA).json()
            assert found["commands"] - count(admin) == count(its) == 2
            wait_until(lambda: len(its.client_list()) == 1)  # nothing stays open
        shown = found["parts"]["servers"]
        assert f"Broker 127.0.0.1:{own.port}/3" in shown
        assert "Pa55w0rd" not in shown

    def test_where_a_cache_is_it_is_not_shown_again(
        self, client: Client, broker: tuple[EmbeddedServer, Celery], server: EmbeddedServer
    ) -> None:
        _own, app = broker
        costs = []
        for host in ("127.0.0.1", "localhost"):
            app.conf.broker_url = f"redis://{host}:{server.port}/5"
            from redis_optimizer.admin import broker as broker_module

            broker_module._ways.clear()
            assert "Broker" not in text_of(client)
            costs.append(client.get(DATA).json()["commands"])
        assert costs[1] - costs[0] == 1  # by its address it is not even asked

    def test_when_it_does_not_answer_that_is_said(
        self, client: Client, broker: tuple[EmbeddedServer, Celery]
    ) -> None:
        own, _app = broker
        own.stop()
        text = text_of(client)
        assert "Broker" in text
        assert "It says nothing of itself" in text
        assert "Pa55w0rd" not in text


def test_a_look_opens_no_channel_and_keeps_no_connection(
    client: Client, processes: list[Reader], admin: redis.Redis
) -> None:
    client.get(DATA)
    before = len(admin.client_list())
    for _ in range(3):
        client.get(DATA)
    wait_until(lambda: len(admin.client_list()) == before)


def test_a_refresh_brings_what_has_grown(client: Client, processes: list[Reader]) -> None:
    before = client.get(DATA).json()
    processes[0].hit(1000)
    after = client.get(DATA).json()
    assert after["at"] > before["at"]
    assert after["parts"]["tiles"] != before["parts"]["tiles"]
    assert set(after["charts"]) == {"step", "begins", "sent", "avoided", "ratio", "batch"}
    assert {len(after["charts"][name]) for name in ("sent", "avoided", "ratio", "batch")} == {360}


def test_a_silent_process_is_named(client: Client, processes: list[Reader]) -> None:
    processes[0].freeze()
    try:
        text = wait_text(client, "1 process answered.")
    finally:
        os.kill(processes[0].pid, signal.SIGCONT)
    assert f"pid {processes[0].pid} (127.0.0.1:" in text
    assert "did not answer." in text


def test_without_a_channel_it_says_what_to_do(client: Client, settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    text = text_of(client)
    assert "No cache of this site has a channel" in text
    assert "redis_optimizer.cache.TieredCache" in text
    assert client.get(DATA).json()["commands"] == 0


def test_without_processes_it_says_when_there_will_be_some(client: Client, settings: Any) -> None:
    settings.REDIS_OPTIMIZER = {"NAMESPACE": "another"}
    assert "No process has a channel yet" in text_of(client)


def test_without_redis_it_says_so(client: Client, settings: Any) -> None:
    with EmbeddedServer() as own:
        gone = own.url
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": gone}}
    text = text_of(client)
    assert "Redis does not answer" in text
    assert "LOCATION" in text
    tiles = client.get(DATA).json()["parts"]["tiles"]
    assert tiles.count('ro-value">-<') == tiles.count("no process answered") == 5


def test_switched_off_by_the_settings_it_says_so(client: Client, settings: Any) -> None:
    settings.REDIS_OPTIMIZER = {"ENABLED": False}
    assert "switched off by REDIS_OPTIMIZER" in text_of(client)


def test_no_password_and_no_key_is_shown(log_in: LogIn, settings: Any) -> None:
    with EmbeddedServer(args=("--requirepass", "Pa55w0rd")) as own:
        location = own.url.replace("://", "://:Pa55w0rd@")
        settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": location}}
        from django.core.cache import cache

        cache.set("private-key", "private-value")
        for _ in range(20):
            cache.get("private-key")
        assert cache.tier.wait_ready(30)  # type: ignore[attr-defined]
        client = log_in(VIEW, *ACTIONS.values())
        texts = [text_of(client), client.get(DATA).content.decode()]
        texts.append(client.post(f"{PAGE}clear-cache/", {"alias": "default"}).content.decode())
        client.post(f"{PAGE}clear-cache/", {"alias": "default", "confirmed": "yes"})
        texts.append(text_of(client))
    for text in texts:
        assert f"127.0.0.1:{own.port}/0" in text
        assert "Pa55w0rd" not in text
        assert "private" not in text


def test_a_wrong_password_is_not_shown(client: Client, settings: Any) -> None:
    with EmbeddedServer(args=("--requirepass", "other")) as own:
        location = own.url.replace("://", "://:Pa55w0rd@")
        settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": location}}
        text = text_of(client)
    assert "Redis does not answer" in text
    assert "Pa55w0rd" not in text


def test_a_server_that_hides_its_slow_log_is_shown(
    client: Client, processes: list[Reader], admin: redis.Redis
) -> None:
    from redis_optimizer.admin import servers

    admin.execute_command("ACL", "SETUSER", "default", "-slowlog")
    try:
        text = text_of(client)
        assert "noeviction" in text
        admin.execute_command("CONFIG", "RESETSTAT")
        client.get(DATA)
        assert "cmdstat_slowlog|len" not in admin.info("commandstats")
    finally:
        admin.execute_command("ACL", "SETUSER", "default", "+@all")
        servers._secretive.clear()


def test_totals_of_any_form_are_shown(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis_optimizer.admin import look
    from redis_optimizer.stats.gathered import Gathered, Process
    from tests.management.test_stats import FACTS

    strange: list[dict[str, Any]] = [
        {"caches": {"a": 7}, "jobs": {"tasks": 1, "sent": "x", "sizes": 3}, "views": {"v": []}},
        {"caches": {"a": {"hits": {}}}, "jobs": {"reasons": []}, "endpoints": {}, "commands": 1},
        {"caches": {}, "jobs": {"waiting": 3}, "views": {}, "endpoints": {"e": None}},
    ]
    for totals in strange:
        found = Gathered([Process(FACTS, totals, None, 0.1)])
        monkeypatch.setattr(look, "gather", lambda found=found, **options: found)
        assert "gunicorn" in text_of(client)


def test_names_are_escaped(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis_optimizer.admin import look
    from redis_optimizer.stats.gathered import Gathered, Process, Silent
    from tests.management.test_stats import FACTS

    bad = "<script>alert(1)</script>"
    totals = {"views": {bad: {"requests": 1}}, "jobs": {"tasks": {bad: {"sent": 1}}}}
    process = Process(FACTS | {"host": bad, "command": bad}, totals, None, 0.1)
    found = Gathered([process], [Silent(1, bad)], 1, unreachable=[bad])
    monkeypatch.setattr(look, "gather", lambda **options: found)
    assert bad not in text_of(client)
    assert bad not in "".join(client.get(DATA).json()["parts"].values())
