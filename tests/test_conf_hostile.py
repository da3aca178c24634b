"""Whatever a setting is given: it works, or it is named in an ImproperlyConfigured."""

from dataclasses import fields
from typing import Any

import pytest
from celery import Celery
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from redis_optimizer.cache.options import Options
from redis_optimizer.conf import Settings, get_settings
from redis_optimizer.tasks import OptimizedTask
from tests.anything import ANY_TEXT, ANY_VALUE, refusal

HUGE = [10**400, 10**5000, -(10**5000), 10**12 + 1, float("inf"), float("nan"), 2**31, 1e18]
ANY = ANY_VALUE | st.sampled_from([*HUGE, object(), b"", set(), {1}, frozenset("a"), "\ud800"])

names = st.sampled_from([field.name for field in fields(Settings)])
options = st.sampled_from([field.name for field in fields(Options) if field.init])
WORDS = ("batch_size", "batch_timeout", "batch_delay", "keep_succeeded", "keep_failed", "dedup_ttl")


def check_number(value: Any) -> None:
    """It is neither too large to count with, nor to wait for."""
    if isinstance(value, int | float):
        assert abs(float(value)) <= 10**12


@given(names, ANY)
def test_a_setting(name: str, value: Any) -> None:
    with override_settings(REDIS_OPTIMIZER={name: value}):
        if error := refusal(get_settings, ImproperlyConfigured):
            assert name in str(error)
            assert len(str(error)) < 1_000
        else:
            assert getattr(get_settings(), name) is value
            check_number(value)


@given(options, ANY)
def test_an_option_of_the_tier(name: str, value: Any) -> None:
    params = {"OPTIONS": {"L1": {name: value}}}
    if error := refusal(lambda: Options.from_params(params), ImproperlyConfigured):
        # HEARTBEAT and MAX_STALENESS depend on each other.
        assert name in str(error) or "HEARTBEAT" in str(error)
        assert len(str(error)) < 1_000
    else:
        check_number(value)


@given(st.sampled_from(["OPTIONS", "L1"]), ANY)
def test_what_is_no_dict(where: str, value: Any) -> None:
    params = {"OPTIONS": {"OPTIONS": value}, "L1": {"OPTIONS": {"L1": value}}}
    error = refusal(lambda: Options.from_params(params[where]), ImproperlyConfigured)
    assert "OPTIONS" in str(error or "OPTIONS")
    assert error or isinstance(value, dict)


@given(ANY)
def test_the_setting_itself(value: Any) -> None:
    with override_settings(REDIS_OPTIMIZER=value):
        error = refusal(get_settings, ImproperlyConfigured)
    assert "REDIS_OPTIMIZER" in str(error or "REDIS_OPTIMIZER")
    assert error or value == {}
    assert len(str(error)) < 3_000  # it lists the options that there are


@given(ANY_TEXT)
def test_a_name_that_is_none(name: str) -> None:
    if name not in {field.name for field in fields(Settings)}:
        with (
            override_settings(REDIS_OPTIMIZER={name: 1}),
            pytest.raises(ImproperlyConfigured, match="has no option"),
        ):
            get_settings()


def run() -> None: ...


@settings(max_examples=30)
@given(st.sampled_from(WORDS), ANY)
def test_an_option_of_a_task(name: str, value: Any) -> None:
    app = Celery("options", set_as_current=False)
    given = {"dedup": "throttle", "dedup_ttl": 1, name: value}

    def declare() -> None:
        app.task(base=OptimizedTask, name="t", shared=False, lazy=False, **given)(run)

    if error := refusal(declare, ImproperlyConfigured):
        assert name in str(error)
    else:
        check_number(value)
