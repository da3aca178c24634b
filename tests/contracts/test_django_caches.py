"""What redis_optimizer.internals leans on in Django's handler of caches."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.test import override_settings

from redis_optimizer.internals import live_caches

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with override_settings(CACHES={"default": LOCMEM, "other": LOCMEM}):
        yield


def test_caches_that_were_used_are_found_and_no_other_is_made() -> None:
    assert live_caches() == []
    used = caches["other"]
    assert live_caches() == [("other", used)]


def test_those_of_another_thread_are_not() -> None:
    assert caches["default"]
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(live_caches()))
    thread.start()
    thread.join(60)
    assert seen == [[]]


def test_one_that_takes_the_place_of_another_is_found() -> None:
    replaced = BaseCache({})
    caches["default"] = replaced
    assert live_caches() == [("default", replaced)]
    assert caches["default"] is replaced
