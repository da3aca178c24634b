"""The tiers and channels of a process: one of each, whoever asks."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.test import override_settings

from redis_optimizer.cache import TieredCache, registry
from redis_optimizer.channel import CLIENT_NAME, Channel
from redis_optimizer.core.store import LocalStore
from tests.servers import wait_until

from .caches import PREFIX, QUIET, channels, deaf, is_kept, keep, settle, tiered


def channel_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == CLIENT_NAME]


def alias(url: str, **options: Any) -> dict[str, Any]:
    return {
        "BACKEND": "redis_optimizer.cache.TieredCache",
        "LOCATION": url,
        "KEY_PREFIX": "t",
        "OPTIONS": {"L1": QUIET, **options},
    }


def test_all_threads_have_one_tier(url: str) -> None:
    with override_settings(CACHES={"default": alias(url)}), ThreadPoolExecutor(8) as pool:
        found = [pool.submit(lambda: caches["default"]) for _ in range(50)]
        backends = {future.result() for future in found}
        assert len({backend.tier for backend in backends}) == 1
        assert registry.tiers() == [backends.pop().tier]


def test_a_key_prefix_a_server_or_an_option_of_its_own_makes_a_tier_of_its_own(url: str) -> None:
    made = [
        tiered(url, ready=False),
        tiered(url.replace("/0", "/1"), ready=False),
        tiered(url, ready=False, prefix="u"),
        tiered(url, ready=False, SERIALIZER="django_redis.serializers.json.JSONSerializer"),
        tiered(url, ready=False, l1={**QUIET, "MAX_AGE": 9}),
        tiered(url, ready=False, params={"KEY_FUNCTION": "tests.cache.test_tiered.reversed_key"}),
    ]
    assert len({cache.tier for cache in made}) == len(made)


def test_a_timeout_or_version_of_its_own_does_not(url: str) -> None:
    first = tiered(url, ready=False)
    assert tiered(url, ready=False, params={"TIMEOUT": 1}).tier is first.tier
    assert tiered(url, ready=False, params={"VERSION": 2}).tier is first.tier


def test_a_write_through_another_alias_on_the_same_keys_is_seen_at_once(url: str) -> None:
    first, second = tiered(url), tiered(url, l1={**QUIET, "MAX_AGE": 9})
    keep(first, {"k": 1})
    assert second.get("k") == 1
    with deaf(first), deaf(second):
        first.set("k", 2)
        assert second.get("k") == 2
        second.delete("k")
        assert first.get("k") is None


def test_so_is_one_through_an_alias_that_has_no_tier(url: str) -> None:
    cache = tiered(url)
    fresh = TieredCache(url, {"KEY_PREFIX": PREFIX, "OPTIONS": {"L1": {"ENABLED": False}}})
    with pytest.raises(AttributeError, match="no in-process tier"):
        fresh.tier  # noqa: B018
    keep(cache, {"k": 1, "l": 1})
    with deaf(cache):
        fresh.set("k", 2)
        assert cache.get("k") == 2
        fresh.incr_version("l")
        assert cache.get("l") is None
        assert is_kept(cache, "k")
        fresh.clear()
        assert cache.get("k") is None


def test_a_write_is_not_disturbed_by_a_tier_that_is_made_meanwhile(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Meanwhile:
        @property
        def store(self) -> LocalStore:
            return tiered(url, ready=False, prefix="u").tier.store

    cache = tiered(url)
    with monkeypatch.context() as added:
        added.setitem(registry._tiers, "meanwhile", Meanwhile())  # type: ignore[arg-type]
        cache.set("k", 1)
    assert len(registry.tiers()) == 2


@pytest.mark.parametrize("end", ["clear", "delete_pattern"])
def test_clearing_one_alias_clears_what_the_others_on_that_server_keep(url: str, end: str) -> None:
    first, second = tiered(url), tiered(url, prefix="u")
    keep(second, {"k": 1})
    with deaf(first), deaf(second):
        first.clear() if end == "clear" else first.delete_pattern("*")
        for _ in range(2):  # from Redis, and as remembered
            assert second.get("k") == (None if end == "clear" else 1)


def test_other_settings_close_the_channels_and_drop_what_is_kept(
    url: str, admin: redis.Redis
) -> None:
    with override_settings(CACHES={"default": alias(url)}):
        cache = caches["default"]
        assert cache.tier.wait_ready(10)
        keep(cache, {"k": 1})
        assert (len(channels(admin)), len(channel_threads())) == (1, 1)
    assert channel_threads() == []
    assert registry.tiers() == []
    assert not is_kept(cache, "k")
    wait_until(lambda: channels(admin) == [])
    assert cache.get("k") == 1  # somebody may still hold the object


def test_switching_the_package_off_and_on_leaves_nothing_behind_that_hears_of_no_writes(
    url: str,
) -> None:
    with override_settings(CACHES={"default": alias(url)}):
        before = caches["default"]
        with override_settings(REDIS_OPTIMIZER={"ENABLED": False}):
            assert caches["default"].stats() == {}  # it has no tier
        after = caches["default"]
        assert after.tier is before.tier
        assert after.tier.wait_ready(20)
        after.set("a", 1)
        before.get("a")
        after.set("a", 2)
        assert before.get("a") == 2


def test_a_tier_that_could_not_start_starts_when_it_can(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> bool:
        raise RuntimeError("can't start new thread")

    with override_settings(CACHES={"default": alias(url)}):
        tier = caches["default"].tier
        with monkeypatch.context() as patch:
            patch.setattr(Channel, "subscribe", refuse)
            with pytest.raises(RuntimeError):
                tier.start()
        assert tier.wait_ready(20)


def test_a_shutdown_ends_threads_and_connections_and_reads_begin_anew(
    cache: TieredCache, admin: redis.Redis
) -> None:
    keep(cache, {"k": 1})
    registry.shutdown()
    assert channel_threads() == []
    wait_until(lambda: channels(admin) == [])
    assert not is_kept(cache, "k")
    assert cache.get("k") == 1
    wait_until(lambda: cache.tier.ready)
    keep(cache, {"k": 2})
    registry.shutdown()
    registry.shutdown()


def test_an_alias_that_comes_later_is_told_as_well(cache: TieredCache, url: str) -> None:
    keep(cache, {"k": 1})
    later = tiered(url, prefix="later")
    wait_until(lambda: cache.tier.ready and later.tier.ready)
    for each in (cache, later):
        keep(each, {"k": 2})
        each.client.get_client().set(each.client.make_key("k"), 3)
        settle(each)
        assert each.get("k") == 3


def test_the_children_of_a_celery_worker_keep_less(url: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(registry, "_byte_limit", None)
    before = tiered(url, ready=False)
    registry.limit_bytes(1000)
    after = tiered(url, ready=False, prefix="u")
    chosen = tiered(url, ready=False, l1={"MAX_BYTES": 5000})
    sizes = [cache.tier.store.max_bytes for cache in (before, after, chosen)]
    assert sizes == [1000, 1000, 5000]


def test_a_process_ends_by_itself_whatever_its_server_does(url: str) -> None:
    script = """if True:
        import sys
        from django.conf import settings
        settings.configure()
        from tests.cache.caches import tiered
        cache = tiered(sys.argv[1])
        cache.set("k", 1)
        cache.get("k")
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
