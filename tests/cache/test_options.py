"""The tier's options: their defaults, and what a wrong one says."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from redis_optimizer.cache.options import Options


def options(l1: Any = None, **params: Any) -> Options:
    given = {} if l1 is None else {"OPTIONS": {"L1": l1}}
    return Options.from_params({**given, **params})


def test_the_defaults_are_as_documented() -> None:
    made = options(KEY_PREFIX="site")
    assert {f.name: getattr(made, f.name) for f in fields(made) if f.init} == {
        "ENABLED": True,
        "MAX_ENTRIES": 10_000,
        "MAX_BYTES": 64 * 1024**2,
        "MAX_AGE": 300,
        "NEGATIVE_AGE": 5,
        "COHERENCE": "tracking",
        "PREFIXES": ("site:",),
        "HEARTBEAT": 5,
        "MAX_STALENESS": 12,
        "EXACT_TTL": "auto",
        "STALE_IF_ERROR": 0,
        "SINGLE_FLIGHT": "process",
        "REREAD_MANY": 16,
        "SINGLE_FLIGHT_TIMEOUT": 30,
        "EXCLUDE": (),
        "START_AFTER": 16,
    }
    assert made.exclude is None
    assert made.is_on


@pytest.mark.parametrize("params", [{}, {"OPTIONS": {}}, {"OPTIONS": {"L1": {}}}])
def test_nothing_needs_to_be_given(params: dict[str, Any]) -> None:
    assert Options.from_params(params) == Options(PREFIXES=(":",))


def test_what_is_given_is_taken() -> None:
    given = {
        "ENABLED": False,
        "MAX_ENTRIES": 1,
        "MAX_BYTES": 1,
        "MAX_AGE": 1.5,
        "NEGATIVE_AGE": 0,
        "COHERENCE": "ttl",
        "PREFIXES": ("a:", "b:"),
        "HEARTBEAT": 0.1,
        "MAX_STALENESS": 1.2,
        "EXACT_TTL": False,
        "STALE_IF_ERROR": 60,
        "SINGLE_FLIGHT": "fleet",
        "REREAD_MANY": 0,
        "SINGLE_FLIGHT_TIMEOUT": 0.1,
        "EXCLUDE": ("x*",),
        "START_AFTER": 0,
    }
    made = options(given)
    assert {f.name: getattr(made, f.name) for f in fields(made) if f.init} == given


@pytest.mark.parametrize("name", ["MAX_ENTRY", "max_entries", "exclude", "is_on", "", 1, None])
def test_a_name_that_does_not_exist_is_named_with_those_that_do(name: object) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        options({name: 1})
    assert str(caught.value) == (
        f'OPTIONS["L1"] has no option {name!r}. The options are: ENABLED, MAX_ENTRIES, MAX_BYTES, '
        "MAX_AGE, NEGATIVE_AGE, COHERENCE, PREFIXES, HEARTBEAT, MAX_STALENESS, EXACT_TTL, "
        "STALE_IF_ERROR, SINGLE_FLIGHT, SINGLE_FLIGHT_TIMEOUT, REREAD_MANY, EXCLUDE, START_AFTER."
    )


@pytest.mark.parametrize("given", [[], "MAX_AGE", 0, True, (("MAX_AGE", 1),)])
def test_options_that_are_no_dict_are_refused(given: object) -> None:
    with pytest.raises(ImproperlyConfigured, match=r'^OPTIONS\["L1"\] must be a dict, not '):
        options(given)


def test_none_is_no_dict_either() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"must be a dict, not None"):
        Options.from_params({"OPTIONS": {"L1": None}})


SECONDS = [-1, "1", None, True, [], math.nan, math.inf]
STRINGS = ["site:", b"site:", "", None, 0, False, 5, [""], ["site:", None], [b"site:"], {"a": 1}]

WRONG: dict[str, list[Any]] = {
    "ENABLED": [0, 1, "yes", None, []],
    "MAX_ENTRIES": [0, -1, 1.0, "10", None, True],
    "MAX_BYTES": [0, -1, 1.0, "10", None, True],
    "MAX_AGE": SECONDS,
    "NEGATIVE_AGE": SECONDS,
    "COHERENCE": ["TTL", "", None, True, 1, []],
    "PREFIXES": STRINGS,
    "HEARTBEAT": [*SECONDS, 0, 0.05],
    "MAX_STALENESS": SECONDS,
    "EXACT_TTL": ["Auto", 0, 1, None, "", "true"],
    "STALE_IF_ERROR": SECONDS,
    "SINGLE_FLIGHT": ["none", "", None, False, True],
    "REREAD_MANY": [-1, 1.5, "0", None, False],
    "SINGLE_FLIGHT_TIMEOUT": [*SECONDS, 0, 0.05],
    "EXCLUDE": STRINGS,
    "START_AFTER": [-1, 1.5, "0", None, False],
}


def test_each_option_has_wrong_values_below() -> None:
    assert set(WRONG) == {field.name for field in fields(Options) if field.init}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        options({name: value})
    message = str(caught.value)
    assert message.startswith(f'OPTIONS["L1"]["{name}"] must be ')
    assert repr(value) in message or repr("") in message


class TestStaleness:
    def test_a_bound_that_two_heartbeats_cannot_keep_is_refused(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"MAX_STALENESS.*2 x HEARTBEAT \+ 1.*10.9"):
            options({"MAX_STALENESS": 10.9})

    def test_the_smallest_is_allowed(self) -> None:
        assert options({"MAX_STALENESS": 11}).MAX_STALENESS == 11

    def test_a_slower_heartbeat_needs_a_higher_bound(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="MAX_STALENESS"):
            options({"HEARTBEAT": 6})
        assert options({"HEARTBEAT": 6, "MAX_STALENESS": 13}).HEARTBEAT == 6


class TestPrefixes:
    @pytest.mark.parametrize("given", [{}, {"PREFIXES": ()}, {"PREFIXES": []}])
    def test_the_default_follows_from_the_key_prefix(self, given: dict[str, Any]) -> None:
        assert options(given, KEY_PREFIX="site").PREFIXES == ("site:",)
        assert options(given, KEY_PREFIX="").PREFIXES == (":",)
        assert options(given).PREFIXES == (":",)

    @pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
    def test_any_collection_will_do(self, kind: type) -> None:
        assert options({"PREFIXES": kind(["a:"]), "EXCLUDE": kind(["b*"])}).PREFIXES == ("a:",)

    def test_what_is_given_replaces_the_default(self) -> None:
        assert options({"PREFIXES": ["a:", "b:"]}, KEY_PREFIX="site").PREFIXES == ("a:", "b:")


class TestExclude:
    @pytest.mark.parametrize(
        ("key", "excluded"),
        [
            ("session1", True),
            ("a.session1", False),
            ("user:5:token", True),
            ("user:5:tokens", False),
            ("line\nbreak:token", False),
            ("SESSION", False),
            ("", False),
        ],
    )
    def test_a_glob_matches_the_whole_key(self, key: str, excluded: bool) -> None:
        made = options({"EXCLUDE": ["session*", "user:?:token"]})
        assert made.exclude is not None
        assert (made.exclude.match(key) is not None) is excluded

    def test_a_line_break_is_a_character_like_any_other(self) -> None:
        made = options({"EXCLUDE": ["a*z"]})
        assert made.exclude is not None
        assert made.exclude.match("a\nz")

    def test_a_character_that_means_something_elsewhere_means_itself(self) -> None:
        made = options({"EXCLUDE": ["a.b|c"]})
        assert made.exclude is not None
        assert made.exclude.match("a.b|c")
        assert not made.exclude.match("axb|c")
        assert not made.exclude.match("c")


@pytest.mark.parametrize(
    ("given", "on"),
    [({}, True), ({"ENABLED": False}, False), ({"MAX_AGE": 0}, False), ({"MAX_AGE": 0.1}, True)],
)
def test_is_on(given: dict[str, Any], on: bool) -> None:
    assert options(given).is_on is on


def test_options_do_not_change() -> None:
    made = options()
    with pytest.raises(FrozenInstanceError):
        made.MAX_AGE = 1  # type: ignore[misc]


def test_what_is_given_is_left_alone() -> None:
    given = {"PREFIXES": ["a:"], "EXCLUDE": ["b"]}
    options(given)
    assert given == {"PREFIXES": ["a:"], "EXCLUDE": ["b"]}
