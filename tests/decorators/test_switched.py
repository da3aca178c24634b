"""Endpoints, switched off and on while they are asked."""

from __future__ import annotations

import pytest
from django.test import AsyncClient, Client, override_settings

from redis_optimizer.decorators import cached
from redis_optimizer.health.audience import Audience
from redis_optimizer.health.lifetimes import lifetimes
from redis_optimizer.health.report import Status
from redis_optimizer.switches import State, learn

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


def test_a_verdict_is_not_remembered_while_it_is_off() -> None:
    switch(False, 1.0)
    assert lifetimes("health", Status.OK) == dict.fromkeys(Audience, 0.0)
    switch(True, 2.0)
    assert lifetimes("health", Status.OK)[Audience.PUBLIC] == 120
