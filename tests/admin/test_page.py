"""What the page shows, and what that costs."""

import os
import signal
from typing import Any

import pytest
import redis
from django.test import Client

from redis_optimizer.embedded import EmbeddedServer
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


def test_it_shows_all_processes_and_the_server(
    client: Client, processes: list[Reader], server: EmbeddedServer
) -> None:
    text = text_of(client)
    for reader in processes:
        assert f'<td class="ro-n">{reader.pid}</td>' in text
    assert "2 processes answered." in text
    assert f"Server 127.0.0.1:{server.port}/0" in text
    assert "noeviction" in text
    assert "PUBLISH" in text


def test_a_refresh_costs_what_it_says_and_no_more_than_it_may(
    client: Client, processes: list[Reader], admin: redis.Redis
) -> None:
    client.get(DATA)  # connects
    admin.config_resetstat()
    found = client.get(DATA).json()
    calls = {name: count["calls"] for name, count in admin.info("commandstats").items()}
    del calls["cmdstat_config|resetstat"]
    assert found["commands"] == sum(calls.values())
    assert found["commands"] - len(processes) + 8 <= LARGEST
    assert client.get(PAGE).context["seen"].commands == found["commands"]


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
    processes[0].do("[cache.get('a') for _ in range(1000)]")
    after = client.get(DATA).json()
    assert after["at"] > before["at"]
    assert after["parts"]["tiles"] != before["parts"]["tiles"]
    assert set(after["charts"]) == {"step", "begins", "sent", "avoided", "ratio", "batch"}
    assert {len(after["charts"][name]) for name in ("sent", "avoided", "ratio", "batch")} == {360}


def test_a_silent_process_is_named(client: Client, processes: list[Reader]) -> None:
    processes[0].freeze()
    try:
        text = text_of(client)
    finally:
        os.kill(processes[0].pid, signal.SIGCONT)
    assert f"pid {processes[0].pid} (127.0.0.1:" in text
    assert "did not answer." in text
    assert "1 process answered." in text


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
