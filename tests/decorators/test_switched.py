"""Endpoints, switched off and on while they are asked."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client, override_settings

from redis_optimizer.decorators import cached
from redis_optimizer.health import Verdict
from redis_optimizer.health.audience import Audience
from redis_optimizer.health.ledger import Ledger
from redis_optimizer.health.lifetimes import lifetimes
from redis_optimizer.health.report import Status
from redis_optimizer.switches import State, learn
from tests.health.told import Told

from .test_views import body


def switch(on: bool, at: float) -> None:
    learn({"endpoints": State(on=on, at=at)})


@pytest.mark.parametrize("url", ["/status/", "/Status/", "/astatus/", "/AStatus/"])
def test_each_call_runs_the_view_while_it_is_off(client: Client, url: str) -> None:
    assert [body(client.get(url))["run"] for _ in range(2)] == [1, 1]
    switch(False, 1.0)
    assert [body(client.get(url))["run"] for _ in range(2)] == [2, 3]
    switch(True, 2.0)
    # What was made before is not served: nobody dropped it meanwhile.
    assert [body(client.get(url))["run"] for _ in range(2)] == [4, 4]


async def test_it_is_so_on_the_event_loop_too(async_client: AsyncClient) -> None:
    switch(False, 1.0)
    runs = [body(await async_client.get("/astatus/"))["run"] for _ in range(2)]
    assert runs[1] == runs[0] + 1


def test_a_view_that_was_first_asked_while_it_was_off_is_kept_afterwards(client: Client) -> None:
    with override_settings(REDIS_OPTIMIZER={"STATUS_TTL": 77}):  # nothing is remembered of before
        switch(False, 1.0)
        client.get("/status/")
        switch(True, 2.0)
        runs = [body(client.get("/status/"))["run"] for _ in range(2)]
        assert runs[0] == runs[1]


def test_each_call_runs_the_function_while_it_is_off() -> None:
    runs: list[int] = []

    @cached(ttl=60, cache="plain")
    def count() -> int:
        runs.append(1)
        return len(runs)

    assert [count(), count()] == [1, 1]
    switch(False, 1.0)
    assert [count(), count.refresh()] == [2, 3]
    switch(True, 2.0)
    assert count() == count()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_refresh_while_it_is_off_is_no_less_one(is_async: bool) -> None:
    numbers = itertools.count(1)
    if is_async:

        @cached(60, cache="plain")
        async def acount() -> int:
            return next(numbers)

        count, refresh = async_to_sync(acount), async_to_sync(acount.refresh)
    else:

        @cached(60, cache="plain")
        def scount() -> int:
            return next(numbers)

        count, refresh = scount, scount.refresh  # type: ignore[assignment]
    assert count() == 1
    switch(False, 1.0)
    assert refresh() == 2
    switch(True, 2.0)
    assert [count(), count()] == [3, 3]


def test_a_verdict_is_not_remembered_while_it_is_off() -> None:
    switch(False, 1.0)
    assert lifetimes("health", Status.OK) == dict.fromkeys(Audience, 0.0)
    switch(True, 2.0)
    assert lifetimes("health", Status.OK)[Audience.PUBLIC] == 120


@pytest.mark.parametrize("is_async", [False, True])
def test_each_call_runs_the_checks_while_it_is_off(is_async: bool) -> None:
    runs: list[int] = []
    check = Told(label="counted", act=lambda: runs.append(1))
    ledger = Ledger("health", lambda: [check])

    def get() -> Verdict:
        who = Audience.PUBLIC
        return asyncio.run(ledger.aget(who)) if is_async else ledger.get(who)

    assert [get().is_cached for _ in range(2)] == [False, True]
    switch(False, 1.0)
    assert [get().is_cached for _ in range(2)] == [False, False]
    assert len(runs) == 3
    switch(True, 2.0)
    assert [get().is_cached for _ in range(2)] == [False, True]
