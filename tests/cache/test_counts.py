"""What the tiers counted, as statistics show it."""

import json
import os
import threading

import pytest
from django.core.cache import caches
from django.test import override_settings

from redis_optimizer.cache import counts, registry
from redis_optimizer.cache.counts import channel_totals, clear, series, totals

from .caches import QUIET, is_kept, keep, tiered


def settings(url: str, **options: object) -> dict[str, object]:
    return {
        "BACKEND": "redis_optimizer.cache.TieredCache",
        "LOCATION": url,
        "KEY_PREFIX": "t",
        "OPTIONS": {"L1": QUIET},
        **options,
    }


def test_each_alias_that_was_used_is_there_and_none_twice(url: str) -> None:
    aliases = {
        "default": settings(url),
        "same": settings(url),
        "other": settings(url, KEY_PREFIX="u"),
        "unused": settings(url, KEY_PREFIX="v"),
        "plain": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    }
    with override_settings(CACHES=aliases):
        assert totals() == {}
        for alias in ("default", "same", "other", "plain"):
            caches[alias].get("a")
        seen = totals()
        assert set(seen) == {"default", "other"}
        assert (seen["default"]["misses"], seen["other"]["misses"]) == (2, 1)
        assert series()["misses"] == 3


def test_numbers_are_those_of_the_cache_and_no_key_is_told(url: str) -> None:
    with override_settings(CACHES={"default": settings(url)}):
        cache = caches["default"]
        assert cache.tier.wait_ready(10)
        keep(cache, {"secret": "secret value"})
        cache.get("secret")
        cache.get_many(["secret", "secret"])
        seen, known = totals()["default"], cache.stats()
        assert seen["entries"] == known["total_entries"] == 1
        assert all(known[name] == value for name, value in seen.items() if name != "entries")
        assert (seen["hits"], seen["commands_avoided"]) == (3, 2)
        assert seen["coherence"] == "tracking"
        assert channel_totals() == {"open": 1, "connects": 1, "breakers": {}}
        assert "secret" not in json.dumps([seen, series(), channel_totals()])


def test_counting_does_not_look_at_each_entry(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with override_settings(CACHES={"default": settings(url)}):
        cache = caches["default"]
        monkeypatch.setattr(type(cache.tier.store), "count_valid", None)
        assert counts.totals()["default"]["entries"] == 0


def test_clear_lets_go_of_what_is_kept_and_nothing_else(url: str) -> None:
    cache = tiered(url)
    keep(cache, {"a": 1, "b": 2})
    assert clear() == {"entries": 2}
    assert not is_kept(cache, "a")
    assert cache.get("a") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_a_parent_counted_is_not_its_childs(url: str) -> None:
    cache = tiered(url)
    keep(cache, {"a": 1})
    cache.get("a")
    cache.get_many(["a", "a"])
    before = series()
    assert before["hits"]
    child = os.fork()
    if not child:
        os._exit(any(series().values()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert series() == before
    assert registry.tiers()


def test_a_channel_can_answer_while_somebody_waits_for_its_end(url: str) -> None:
    with override_settings(CACHES={"default": settings(url)}):
        caches["default"].get("a")
        seen: list[object] = []
        thread = threading.Thread(
            target=lambda: seen.extend([totals(), series(), channel_totals(), clear()]), daemon=True
        )
        with registry._lock:  # as a fork holds it, and whoever stops channels
            thread.start()
            thread.join(60)
            assert len(seen) == 4
