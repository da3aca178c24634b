"""The REDIS_OPTIMIZER setting and the environment variable that overrides it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from redis_optimizer.conf import ENABLED_VARIABLE, Settings, cache_settings, get_settings


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(ENABLED_VARIABLE, raising=False)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_nothing_needs_to_be_set() -> None:
    assert get_settings() == Settings(ENABLED=True, NAMESPACE="default")


def test_what_is_set_is_taken() -> None:
    with override_settings(REDIS_OPTIMIZER={"ENABLED": False, "NAMESPACE": "site"}):
        assert get_settings() == Settings(ENABLED=False, NAMESPACE="site")


def test_a_change_of_the_setting_is_seen_at_once() -> None:
    assert get_settings().NAMESPACE == "default"
    with override_settings(REDIS_OPTIMIZER={"NAMESPACE": "a"}):
        assert get_settings().NAMESPACE == "a"
        with override_settings(REDIS_OPTIMIZER={"NAMESPACE": "b"}):
            assert get_settings().NAMESPACE == "b"
        assert get_settings().NAMESPACE == "a"
    assert get_settings().NAMESPACE == "default"


def test_a_change_of_another_setting_costs_nothing() -> None:
    before = get_settings()
    with override_settings(USE_TZ=False):
        assert get_settings() is before


@pytest.mark.parametrize("given", [None, [], "ENABLED", True])
def test_a_setting_that_is_no_dict_is_refused(given: object) -> None:
    with (
        override_settings(REDIS_OPTIMIZER=given),
        pytest.raises(ImproperlyConfigured, match=r"^REDIS_OPTIMIZER must be a dict, not "),
    ):
        get_settings()


@pytest.mark.parametrize("name", ["ENABLE", "enabled", "", 1, None])
def test_a_name_that_does_not_exist_is_named_with_those_that_do(name: object) -> None:
    with override_settings(REDIS_OPTIMIZER={name: True}), pytest.raises(ImproperlyConfigured) as e:
        get_settings()
    message = f"REDIS_OPTIMIZER has no option {name!r}. The options are: ENABLED, NAMESPACE, "
    assert str(e.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("ENABLED", 1, "must be a bool, not 1."),
        ("ENABLED", "yes", "must be a bool, not 'yes'."),
        ("ENABLED", None, "must be a bool, not None."),
        ("NAMESPACE", None, "must be a str, not None."),
        ("NAMESPACE", b"site", "must be a str, not b'site'."),
        ("NAMESPACE", "", "must not be empty."),
        ("BATCH_SIZE", 0, "must be a whole number, 1 or more, not 0."),
        ("BATCH_SIZE", 2.5, "must be a whole number, 1 or more, not 2.5."),
        ("BATCH_SIZE", True, "must be a whole number, 1 or more, not True."),
        ("BATCH_TIMEOUT", -1, "must be a number of seconds, 0 or more, not -1."),
        ("BATCH_TIMEOUT", float("nan"), "must be a number of seconds, 0 or more, not nan."),
        ("BATCH_DELAY", "1", "must be a number of seconds, 0 or more, not '1'."),
        ("MAX_BUFFERED", 0, "must be a whole number, 1 or more, not 0."),
        ("KEEP_SUCCEEDED", -1, "must be a whole number, 0 or more, not -1."),
        ("ENVELOPES", 1, "must be 'auto', True or False, not 1."),
        ("ENVELOPES", "on", "must be 'auto', True or False, not 'on'."),
        ("DEDUP_TTL", 0, "must be more than 0, not 0."),
        (
            "HEALTH_POLL_INTERVAL",
            30 * 86_400,  # 1 ms, for a browser
            "must be a number of seconds, 1,000,000 or less, not 2592000.",
        ),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: object, must: str) -> None:
    with override_settings(REDIS_OPTIMIZER={name: value}), pytest.raises(ImproperlyConfigured) as e:
        get_settings()
    assert str(e.value) == f"REDIS_OPTIMIZER[{name!r}] {must}"


def test_an_error_is_raised_anew_until_it_is_mended() -> None:
    with override_settings(REDIS_OPTIMIZER={"NAMESPACE": ""}):
        for _ in range(2):
            with pytest.raises(ImproperlyConfigured):
                get_settings()
    assert get_settings().NAMESPACE == "default"


class TestEnvironment:
    @pytest.mark.parametrize("word", ["0", "false", "No", " OFF "])
    def test_switches_off(self, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
        monkeypatch.setenv(ENABLED_VARIABLE, word)
        with override_settings(REDIS_OPTIMIZER={"ENABLED": True, "NAMESPACE": "site"}):
            assert get_settings() == Settings(ENABLED=False, NAMESPACE="site")

    @pytest.mark.parametrize("word", ["1", "true", "Yes", " on "])
    def test_switches_on(self, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
        monkeypatch.setenv(ENABLED_VARIABLE, word)
        with override_settings(REDIS_OPTIMIZER={"ENABLED": False}):
            assert get_settings().ENABLED

    @pytest.mark.parametrize("word", ["", "  "])
    def test_says_nothing_when_empty(self, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
        monkeypatch.setenv(ENABLED_VARIABLE, word)
        with override_settings(REDIS_OPTIMIZER={"ENABLED": False}):
            assert not get_settings().ENABLED

    @pytest.mark.parametrize("word", ["2", "nope", "ja"])
    def test_another_word_is_refused(self, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
        monkeypatch.setenv(ENABLED_VARIABLE, word)
        with pytest.raises(ImproperlyConfigured) as caught:
            get_settings()
        message = f"The environment variable REDIS_OPTIMIZER_ENABLED must be 0 or 1, not {word!r}."
        assert str(caught.value) == message


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        get_settings().ENABLED = False  # type: ignore[misc]


def test_caches_come_by_alias_and_may_be_changed_without_harm() -> None:
    caches = cache_settings()
    assert caches == settings.CACHES
    caches.clear()
    assert settings.CACHES
