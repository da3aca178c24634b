"""Checks of django-watchman run as ours do."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from watchman import settings as watchman_settings

from redis_optimizer.contrib.watchman import Failed, WatchmanCheck

answers: list[Any] = []


def answer() -> Any:
    return answers[-1]


@pytest.fixture(autouse=True)
def _no_answers() -> Iterator[None]:
    yield
    answers.clear()


def run(found: Any) -> None:
    answers.append(found)
    WatchmanCheck(check=f"{__name__}.answer").run()


def test_what_works(server: object, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(watchman_settings, "WATCHMAN_CACHES", settings.CACHES)
    assert WatchmanCheck(check="watchman.checks.caches").run() is None


def test_what_does_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchman_settings, "WATCHMAN_CACHES", {"default": {}, "absent": {}})
    with pytest.raises(Failed, match=r"^caches\.absent: ") as raised:
        WatchmanCheck(check="watchman.checks.caches").run()
    assert "default" not in str(raised.value)
    assert "Traceback" not in str(raised.value)


@pytest.mark.parametrize(
    "found",
    [
        {"storage": {"ok": True}},
        {"databases": [{"default": {"ok": True}}, {"other": {"ok": True}}]},
        {"caches": []},
        {},
    ],
)
def test_nothing_is_wrong(found: Any) -> None:
    run(found)


def test_all_that_is_wrong_is_said() -> None:
    found = {"queues": [{"a": {"ok": False, "error": "full"}}, {"b": {"ok": False}}]}
    with pytest.raises(Failed, match=r"^queues\.a: full; queues\.b: not ok$"):
        run(found)


@pytest.mark.parametrize("found", [None, "fine", True, {"storage": True}, [1]], ids=repr)
def test_rubbish_is_named(found: Any) -> None:
    with pytest.raises(TypeError, match="no answer of a check"):
        run(found)


def test_names() -> None:
    (check,) = WatchmanCheck.instances(check="watchman.checks.storage", critical=False)
    assert (check.name, check.critical) == ("watchman-storage", False)
    assert WatchmanCheck(check="watchman.checks.storage", label="disk").name == "disk"
    assert WatchmanCheck(check=f"{__name__}.answer").name == "watchman-answer"


@pytest.mark.parametrize(
    ("check", "says"),
    [
        ("watchman.checks.absent", "cannot be imported"),
        ("absent", "cannot be imported"),
        (f"{__name__}.answers", "is no function"),
    ],
)
def test_what_is_wrong_is_named_as_it_is_made(check: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says) as raised:
        WatchmanCheck(check=check)
    assert "pip install" not in str(raised.value)


def test_without_the_library_it_names_the_package() -> None:
    code = """
import sys
from django.core.exceptions import ImproperlyConfigured
from redis_optimizer.contrib.watchman import WatchmanCheck
assert "watchman" not in sys.modules
sys.path[:] = [path for path in sys.path if "site-packages" not in path]
sys.path_importer_cache.clear()
try:
    WatchmanCheck(check="watchman.checks.caches")
except ImproperlyConfigured as error:
    assert "pip install django-watchman" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)
