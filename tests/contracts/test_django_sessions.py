"""What redis_optimizer.contrib.sessions leans on in Django's own engine."""

import asyncio
import inspect
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import caches


def test_the_cache_is_an_attribute(settings: Any) -> None:
    settings.SESSION_CACHE_ALIAS = "plain"
    store: Any = SessionStore()
    assert store._cache is caches["plain"]


def test_a_session_is_loaded_once_and_its_key_may_be_taken_away() -> None:
    class Store(SessionStore):
        loads = 0

        def load(self) -> dict[str, Any]:
            self.loads += 1
            self._session_key = None
            return {"user": 1}

        async def aload(self) -> dict[str, Any]:
            return self.load()

    store: Any = Store("a" * 32)
    assert store._get_session() is store._get_session()
    assert (store.loads, store.session_key) == (1, None)
    store = Store("a" * 32)
    assert asyncio.run(store._aget_session()) == {"user": 1}
    assert (store.loads, store.session_key) == (1, None)


def test_create_is_save_that_must_create() -> None:
    for name in ("create", "acreate"):
        assert "save(must_create=True)" in inspect.getsource(getattr(SessionStore, name))
    assert SessionStore.cycle_key is SessionBase.cycle_key
    assert SessionStore.flush is SessionBase.flush
