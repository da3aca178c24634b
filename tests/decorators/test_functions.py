"""`cached`: a function's results, kept in a cache of the site."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from asgiref.sync import (
    ThreadSensitiveContext,
    async_to_sync,
    iscoroutinefunction,
    sync_to_async,
)
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.core.cache import caches
from django.test import override_settings
from django.utils import translation

from redis_optimizer.decorators import cached
from redis_optimizer.decorators.background import THREAD_NAME
from redis_optimizer.embedded import EmbeddedServer, free_port
from tests.core.loads import PATIENCE, Load, auntil, until

calls: Counter[str] = Counter()

BACKENDS = {
    "local": {"BACKEND": "redis_optimizer.cache.LocalCache", "LOCATION": "decorators"},
    "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "d"},
    "none": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
}


@pytest.fixture(autouse=True)
def _caches(server: EmbeddedServer) -> Iterator[None]:
    redis = {"LOCATION": server.url, "KEY_PREFIX": "t"}
    django_redis = {"BACKEND": "django_redis.cache.RedisCache", **redis}
    json = {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"}
    down = {"LOCATION": f"redis://127.0.0.1:{free_port()}/0"}
    with override_settings(
        CACHES={
            **BACKENDS,
            "default": {"BACKEND": "redis_optimizer.cache.TieredCache", **redis},
            "plain": django_redis,
            "json": {**django_redis, "OPTIONS": json},
            "down": {**django_redis, **down},
            "tenants": {**BACKENDS["locmem"], "KEY_FUNCTION": f"{__name__}.of_a_tenant"},
        }
    ):
        calls.clear()
        for alias in ("local", "locmem"):
            caches[alias].clear()
        yield


here = threading.local()


def of_a_tenant(key: str, prefix: str, version: int) -> str:
    """Make a key as multi-tenant sites do, by what the thread works for."""
    return f"{here.tenant}:{key}"


def become(tenant: str) -> None:
    here.tenant = tenant


KEEPING = ["default", "plain", "json", "local", "locmem"]


def age(function: Any, seconds: float) -> None:
    """Let the results of a function be older than they are."""
    place = function.keeper.place
    place.now = lambda: time.time() + seconds


class TestKeeping:
    @pytest.mark.parametrize("alias", KEEPING)
    def test_a_result_is_kept_for_its_arguments(self, alias: str) -> None:
        @cached(60, cache=alias)
        def double(number: int, *, plus: int = 0) -> dict[str, int]:
            """Double it."""
            calls["double"] += 1
            return {"is": number * 2 + plus}

        assert [double(2), double(number=2), double(2, plus=0)] == [{"is": 4}] * 3
        assert double(3) == {"is": 6}
        assert calls == {"double": 2}
        assert double.__name__ == "double"  # type: ignore[attr-defined]
        assert double.__doc__ == "Double it."

    @pytest.mark.parametrize("alias", KEEPING)
    async def test_so_is_a_coroutines(self, alias: str) -> None:
        @cached(60, cache=alias)
        async def double(number: int) -> int:
            calls["double"] += 1
            return number * 2

        assert iscoroutinefunction(double)
        assert [await double(2), await double(number=2), await double(3)] == [4, 4, 6]
        assert calls == {"double": 2}

    @pytest.mark.parametrize("alias", KEEPING)
    @pytest.mark.parametrize("value", [None, False, 0, "", [], {}])
    def test_nothing_is_a_result_like_any(self, alias: str, value: Any) -> None:
        @cached(60, cache=alias)
        def nothing() -> Any:
            calls["nothing"] += 1
            return value

        assert [nothing(), nothing()] == [value, value]
        assert calls == {"nothing": 1}

    @pytest.mark.parametrize(
        "foreign", [None, "x", 5, ["a", 1, 2, 3], ("redis_optimizer:cached:0",)]
    )
    def test_what_others_keep_under_the_key_is_a_miss(self, foreign: Any) -> None:
        @cached(60, cache="local", key="theirs")
        def ours() -> str:
            return "ours"

        caches["local"].set("theirs", foreign)
        assert ours() == "ours"

    def test_so_is_what_cannot_be_read(self, admin: Any) -> None:
        @cached(60, cache="plain", key="theirs")
        def ours() -> str:
            return "ours"

        admin.set("t:1:theirs", "no pickle")
        assert ours() == "ours"
        assert ours() == "ours"

    def test_a_caller_cannot_change_what_the_next_one_gets(self) -> None:
        @cached(60, cache="local")
        def items() -> list[int]:
            return [1]

        for _ in range(3):
            items().append(2)
            assert items() == [1]

    def test_it_ends_when_its_time_is_up(self) -> None:
        @cached(60, cache="local")
        def number() -> int:
            calls["number"] += 1
            return calls["number"]

        assert number() == 1
        age(number, 59)
        assert number() == 1
        age(number, 61)
        assert number() == 2

    def test_the_cache_lets_it_go_as_well(self, admin: Any) -> None:
        @cached(60, cache="plain", key="number", stale_if_error=30)
        def number() -> int:
            return 1

        number()
        assert 88 <= admin.ttl("t:1:number") <= 90

    def test_errors_are_not_kept(self) -> None:
        @cached(60, cache="local")
        def fails() -> None:
            calls["fails"] += 1
            raise ValueError("no")

        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                fails()
        assert calls == {"fails": 2}

    def test_vary_is_a_part_of_the_key(self) -> None:
        @cached(60, cache="local", vary=lambda: translation.get_language())
        def greet() -> str | None:
            return translation.get_language()

        for language in ("de", "en", "de"):
            with translation.override(language):
                assert greet() == language

    def test_without_a_cache_it_runs_each_time(self) -> None:
        @cached(60, cache="none")
        def number() -> int:
            calls["number"] += 1
            return calls["number"]

        assert [number(), number()] == [1, 2]

    def test_what_cannot_be_stored_is_returned(self, caplog: pytest.LogCaptureFixture) -> None:
        @cached(60, cache="local")
        def lock() -> Any:
            return threading.Lock()

        assert lock() is not lock()
        assert "could not be written" in caplog.text

    def test_methods_are_kept_by_what_they_belong_to(self) -> None:
        class Shop:
            @cached(60, cache="local", key="shop:{self.pk}")
            def total(self) -> int:
                calls["total"] += 1
                return self.pk

            @classmethod
            @cached(60, cache="local")
            def kind(cls) -> str:
                return cls.__name__

            @cached(60, cache="local")
            def nameless(self) -> None: ...

            def __init__(self, pk: int) -> None:
                self.pk = pk

        class Stall(Shop):
            pass

        shops = Shop(1), Shop(2)
        assert [shop.total() for shop in shops * 2] == [1, 2, 1, 2]
        assert calls == {"total": 2}
        Shop.total.invalidate(shops[0])
        assert [shop.total() for shop in shops] == [1, 2]
        assert calls == {"total": 3}
        assert [Shop.kind(), Stall.kind(), Shop.kind()] == ["Shop", "Stall", "Shop"]
        with pytest.raises(TypeError, match="its argument self: Shop"):
            shops[0].nameless()

    @pytest.mark.parametrize("ttl", [0, 60])
    def test_it_can_be_switched_off(self, ttl: int) -> None:
        @cached(ttl, cache="local")
        def number(anything: Any = None) -> int:
            calls["number"] += 1
            return calls["number"]

        with override_settings(REDIS_OPTIMIZER={"ENABLED": ttl == 0}):
            assert [number(), number([]), number.refresh()] == [1, 2, 3]

    @pytest.mark.parametrize(
        "wrong", [int, classmethod(lambda cls: 1), lambda: (yield)], ids=["class", "cm", "gen"]
    )
    def test_only_functions_are_decorated(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match=r"is a class|write cached below|yields"):
            cached(60)(wrong)

    def test_the_ttl_is_needed(self) -> None:
        with pytest.raises(TypeError, match=r"write @cached\(60\)"):
            cached(len)  # type: ignore[arg-type]

    def test_renewal_cannot_begin_before_the_beginning(self) -> None:
        with pytest.raises(ValueError, match=r"early of .* must be less than its ttl"):
            cached(60, early=60)(time.time)


class TestDown:
    def test_the_function_is_called(self, caplog: pytest.LogCaptureFixture) -> None:
        @cached(60, cache="down")
        def number() -> int:
            calls["number"] += 1
            return calls["number"]

        with caplog.at_level(logging.WARNING, "redis_optimizer.decorators"):
            assert [number() for _ in range(3)] == [1, 2, 3]
            assert number.refresh() == 4
        assert len(caplog.records) == 1  # the others within a minute are not logged

    async def test_the_coroutine_too(self) -> None:
        @cached(60, cache="down")
        async def number() -> int:
            calls["number"] += 1
            return calls["number"]

        assert [await number() for _ in range(3)] == [1, 2, 3]

    @pytest.mark.parametrize("name", ["get", "set"])
    def test_a_time_limit_of_celery_is_none(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        @cached(60, cache="plain")
        def number() -> int:
            return 1

        def end(*args: Any) -> None:
            raise SoftTimeLimitExceeded

        monkeypatch.setattr(caches["plain"], name, end)
        with pytest.raises(SoftTimeLimitExceeded):
            number()

    def test_but_who_wants_a_result_gone_is_told(self) -> None:
        @cached(60, cache="down")
        def number() -> int:
            return 1

        with pytest.raises(Exception, match="Connection"):
            number.invalidate()

    @pytest.mark.parametrize("is_ignored", [False, True])
    @pytest.mark.parametrize("is_async", [False, True])
    def test_a_refresh_that_cannot_be_kept_takes_the_old_result_away(
        self, settings: Any, admin: redis.Redis, is_async: bool, is_ignored: bool
    ) -> None:
        ignoring = {"OPTIONS": {"IGNORE_EXCEPTIONS": is_ignored}}
        settings.CACHES = {"plain": settings.CACHES["plain"] | ignoring}
        calls.clear()
        if is_async:

            @cached(60, cache="plain")
            async def anumber() -> int:
                return next(numbers)

            number, refresh = async_to_sync(anumber), async_to_sync(anumber.refresh)
        else:

            @cached(60, cache="plain")
            def snumber() -> int:
                return next(numbers)

            number, refresh = snumber, snumber.refresh  # type: ignore[assignment]
        numbers = itertools.count(1)
        assert [number(), number()] == [1, 1]
        admin.execute_command("ACL", "SETUSER", "default", "-set")  # as a full memory does
        try:
            assert refresh() == 2
        finally:
            admin.execute_command("ACL", "SETUSER", "default", "+set")
        assert [number(), number()] == [3, 3]

    def test_an_old_result_is_returned_instead_of_an_error(self) -> None:
        outcomes: list[Any] = [["a"], ValueError("no"), ValueError("no")]

        @cached(60, cache="plain", stale_if_error=60)
        def result() -> Any:
            outcome = outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        result()
        age(result, 119)
        assert result() == ["a"]
        age(result, 121)
        with pytest.raises(ValueError, match="no"):
            result()


class TestChanging:
    def test_a_result_is_forgotten(self) -> None:
        @cached(60)
        def number(of: str) -> int:
            calls[of] += 1
            return calls[of]

        assert [number("a"), number("b")] == [1, 1]
        assert number.invalidate(of="a") is None
        assert [number("a"), number("b")] == [2, 1]

    def test_a_result_is_renewed(self) -> None:
        @cached(60)
        def number() -> int:
            calls["number"] += 1
            return calls["number"]

        assert [number(), number.refresh(), number()] == [1, 2, 2]

    async def test_for_coroutines_both_are_awaited(self) -> None:
        @cached(60)
        async def number() -> int:
            calls["number"] += 1
            return calls["number"]

        assert [await number(), await number.refresh(), await number()] == [1, 2, 2]
        assert await number.invalidate() is None
        assert await number() == 3

    @pytest.mark.parametrize("change", ["invalidate", "refresh"])
    def test_a_call_under_way_does_not_bring_the_old_result_back(self, change: str) -> None:
        old, state = Load("old"), {"is": "old"}

        @cached(60, cache="plain")
        def read() -> Any:
            return old() if state["is"] == "old" else state["is"]

        with ThreadPoolExecutor() as pool:
            call = pool.submit(read)
            assert old.started.wait(PATIENCE)
            state["is"] = "new"
            getattr(read, change)()
            assert read() == "new"
            old.may_end.set()
            assert call.result(PATIENCE) == "old"
        state["is"] = "newer"
        assert read() == "new"


class TestSharing:
    def test_200_threads_share_one_call(self) -> None:
        load = Load(["a"])

        @cached(60, cache="plain")
        def items() -> Any:
            return load()

        with ThreadPoolExecutor(200) as pool:
            waiting = [pool.submit(items) for _ in range(200)]
            until(lambda: items.keeper.flights.joined == 199)  # type: ignore[attr-defined]
            load.may_end.set()
            results = [call.result(PATIENCE) for call in waiting]
        assert load.calls == 1
        assert results == [["a"]] * 200
        assert len({id(result) for result in results}) == 200  # each may change their own

    async def test_200_tasks_share_one_call(self) -> None:
        load = Load(["a"])

        @cached(60)
        async def items() -> Any:
            return await load.acall()

        tasks = [asyncio.create_task(_awaited(items)) for _ in range(200)]
        await auntil(lambda: items.keeper.flights.joined == 199)  # type: ignore[attr-defined]
        load.may_end.set()
        results = await asyncio.gather(*tasks)
        assert load.calls == 1
        assert len({id(result) for result in results}) == 200


class TestTenants:
    """Of those whose final keys differ, none gets what another one makes."""

    def test_callers_do_not_share_a_call(self) -> None:
        both = threading.Barrier(2)

        @cached(60, cache="tenants")
        def result() -> str:
            both.wait(PATIENCE)
            return str(here.tenant)

        def ask(tenant: str) -> list[str]:
            become(tenant)
            return [result(), result()]

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(ask, "ab")) == [["a", "a"], ["b", "b"]]

    async def test_coroutines_do_not_share_one_either(self) -> None:
        both = asyncio.Barrier(2)

        @cached(60, cache="tenants")
        async def result() -> str:
            await asyncio.wait_for(both.wait(), PATIENCE)
            return await sync_to_async(lambda: str(here.tenant))()

        async def ask(tenant: str) -> list[str]:
            async with ThreadSensitiveContext():  # as Django does for each request
                await sync_to_async(become)(tenant)
                return [await result(), await result()]

        assert await asyncio.gather(ask("a"), ask("b")) == [["a", "a"], ["b", "b"]]

    def test_one_forgets_its_own_alone(self) -> None:
        @cached(60, cache="tenants")
        def result() -> int:
            calls[here.tenant] += 1
            return calls[here.tenant]

        for tenant in "ab":
            become(tenant)
            assert result() == 1
        result.invalidate()
        assert result() == 2
        become("a")
        assert result() == 1

    def test_a_key_that_changes_during_the_call_is_no_error(self) -> None:
        @cached(60, cache="tenants")
        def result() -> str:
            return str(here.tenant)

        def change(key: str, prefix: str, version: int) -> str:
            calls["keys"] += 1
            return f"{calls['keys']}:{key}"  # as by the time of day

        with override_settings(
            CACHES={**settings.CACHES, "tenants": {**BACKENDS["locmem"], "KEY_FUNCTION": change}}
        ):
            become("a")
            assert result() == "a"

    def test_what_is_renewed_in_the_background_is_nobody_elses(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        @cached(60, cache="tenants", early=20)
        def result() -> str:
            calls["all"] += 1
            return str(here.tenant)

        become("a")
        assert result() == "a"
        age(result, 41)
        assert result() == "a"
        until(lambda: "cannot be renewed `early`" in caplog.text)
        assert calls["all"] == 1


class TestEarly:
    def test_a_result_is_renewed_in_a_thread_while_all_get_the_old_one(self) -> None:
        load = Load("new")
        seen: list[Any] = []
        first = ["old"]

        @cached(60, cache="plain", early=20)
        def result() -> Any:
            if first:
                return first.pop()
            seen.extend((threading.current_thread(), translation.get_language()))
            return load()

        assert result() == "old"
        age(result, 39)
        assert result() == "old"
        assert not load.started.is_set()
        age(result, 41)
        with translation.override("de"):
            assert [result() for _ in range(5)] == ["old"] * 5
        assert load.started.wait(PATIENCE)
        thread, language = seen
        assert (thread.name, thread.daemon, language) == (THREAD_NAME, True, "de")
        load.may_end.set()
        thread.join(PATIENCE)
        assert result() == "new"
        assert load.calls == 1

    def test_the_thread_leaves_no_connection_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        closed: list[threading.Thread] = []
        threads: list[threading.Thread] = []

        @cached(60, cache="local", early=20)
        def result() -> None:
            threads.append(threading.current_thread())

        result()
        age(result, 41)
        monkeypatch.setattr(
            "django.db.connections.close_all", lambda: closed.append(threading.current_thread())
        )
        result()
        until(lambda: bool(closed))
        assert closed == threads[1:]
        closed[0].join(PATIENCE)

    async def test_a_coroutines_is_renewed_in_a_task(self) -> None:
        load = Load("new")
        first = ["old"]

        @cached(60, cache="local", early=20)
        async def result() -> Any:
            return first.pop() if first else await load.acall()

        assert await result() == "old"
        age(result, 41)
        assert [await result() for _ in range(5)] == ["old"] * 5
        await auntil(load.started.is_set)
        load.may_end.set()
        while await result() == "old":
            await asyncio.sleep(0.001)
        assert await result() == "new"
        assert load.calls == 1


async def _awaited(function: Callable[[], Awaitable[Any]]) -> Any:
    return await function()
