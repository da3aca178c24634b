"""What a channel costs, by the server's own count of commands and connections."""

import subprocess
import sys
import time

import redis

from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.cache.caches import (
    QUICK,
    channels,
    command_calls,
    counted,
    is_kept,
    keep,
    kill_channels,
    plain,
    settle,
    tiered,
)
from tests.servers import wait_until


def test_a_short_lived_process_pays_nothing(url: str, admin: redis.Redis) -> None:
    cache = tiered(url, ready=False, l1={"START_AFTER": 16})
    cache.set("a", 1)
    with counted(admin) as calls:
        for _ in range(16):
            cache.get("a")
    assert calls == {"get": 16}
    assert channels(admin) == []
    cache.get("a")
    wait_until(lambda: channels(admin))


def test_a_channel_takes_six_commands_at_most(url: str, admin: redis.Redis) -> None:
    plain(url).get("a")  # the pool has a connection for the probe
    with counted(admin) as calls:
        cache = tiered(url)
    assert sum(calls.values()) <= 6, calls
    assert calls["client|tracking"] == calls["subscribe"] == calls["set"] == 1
    assert calls["get"] == 1  # which parts are switched off
    connects = cache.tier.channel.connects
    with counted(admin) as calls:
        kill_channels(admin)
        wait_until(lambda: cache.tier.channel.connects > connects and cache.tier.ready)
    assert sum(calls.values()) <= 6, calls


def test_a_channel_takes_six_commands_by_resp2_too() -> None:
    resp2 = {"CONNECTION_POOL_KWARGS": {"protocol": 2}}
    with (
        EmbeddedServer(args=["--rename-command", "HELLO", ""]) as own,
        redis.Redis(HOST, own.port, protocol=2, decode_responses=True) as client,
    ):
        plain(own.url, **resp2).get("a")
        with counted(client) as calls:
            cache = tiered(own.url, **resp2)
        assert sum(calls.values()) <= 6, calls
        assert cache.tier.channel.protocol == 2


def test_a_process_that_is_idle_sends_nothing(url: str, admin: redis.Redis) -> None:
    cache = tiered(url, l1=QUICK)
    cache.get("a")
    store = cache.tier.store
    wait_until(lambda: store.now() > store.valid_until, QUICK["MAX_STALENESS"] * 3)
    with counted(admin) as calls:
        deadline = time.monotonic() + 5 * QUICK["HEARTBEAT"]
        while time.monotonic() < deadline:
            assert store.now() > store.valid_until
            time.sleep(QUICK["HEARTBEAT"])
    assert calls == {}
    assert len(channels(admin)) == 1


def test_a_process_that_reads_pings_once_a_heartbeat(url: str, admin: redis.Redis) -> None:
    cache = tiered(url, l1={**QUICK, "HEARTBEAT": 0.3, "MAX_STALENESS": 1.6})
    cache.get("a")
    with counted(admin) as calls:
        began = time.monotonic()
        wait_until(lambda: cache.get("a") or command_calls(admin).get("ping", 0) >= 3)
        beats = (time.monotonic() - began) / 0.3
    assert 3 <= calls["ping"] <= beats + 1
    assert is_kept(cache, "a")


def test_one_connection_more_than_django_redis(url: str, admin: redis.Redis) -> None:
    count = _connections("plain(sys.argv[1])", admin, url)
    assert _connections("tiered(sys.argv[1], ready=False)", admin, url) == count + 1


def _connections(cache: str, admin: redis.Redis, url: str) -> int:
    """Count the connections of a process that reads all the time, while its channel starts too."""
    before = {client["id"] for client in admin.client_list()}
    script = f"""if True:
        import itertools, sys
        from django.conf import settings
        settings.configure()
        from tests.cache.caches import plain, tiered
        cache = {cache}
        cache.set("a", 1)
        tier = getattr(cache, "tier", None)
        for n in itertools.count():
            cache.get(str(n))
            if n > 100 and (tier is None or tier.ready):
                break
        print("ready", flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", script, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        found = len({client["id"] for client in admin.client_list()} - before)
        process.communicate("")
    return found


def test_aliases_on_one_server_share_a_channel(url: str, admin: redis.Redis) -> None:
    first = tiered(url, prefix="a")
    second = tiered(url.replace("/0", "/1"), prefix="b")
    assert first.tier.channel is second.tier.channel
    assert len(channels(admin)) == 1
    for cache in (first, second):
        keep(cache, {"k": 1})
        settle(cache)


def test_aliases_on_two_servers_have_a_channel_each(url: str, admin: redis.Redis) -> None:
    with (
        EmbeddedServer() as other,
        redis.Redis.from_url(other.url, decode_responses=True) as other_admin,
    ):
        first, second = tiered(url), tiered(other.url)
        assert first.tier.channel is not second.tier.channel
        assert (len(channels(admin)), len(channels(other_admin))) == (1, 1)
