"""What is checked: what the settings name, and what registers itself."""

import asyncio
import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import pytest
from django.apps import apps

from redis_optimizer.health import Check, Degraded, Result, Status, health_check, registry
from redis_optimizer.health.runner import run_checks
from tests.health.told import Told

HERE = __name__


@dataclass(frozen=True, kw_only=True)
class Space(Check):
    component = "system"

    path: str = "/"

    @property
    def name(self) -> str:
        return f"space-{self.path.strip('/') or 'root'}"

    def run(self) -> None:
        """Find nothing."""


@dataclass(frozen=True, kw_only=True)
class WithoutRun(Check):
    """What somebody has begun to write."""


@dataclass(frozen=True, kw_only=True)
class Each(Space):
    @classmethod
    def instances(cls, **options: Any) -> Iterable[Self]:
        for path in ("/a", "/b"):
            yield cls(path=path, **options)


@dataclass(frozen=True, kw_only=True)
class Fails(Space):
    @classmethod
    def instances(cls, **options: Any) -> Iterable[Self]:
        yield cls(path="/c")
        raise LookupError("no such disk")


class NotACheck:
    pass


one = Space(path="/one")
nameless = Told(label="a b", act=print)
unnamed = Told(label=3, act=print)  # type: ignore[arg-type]
number = 3


def plain() -> dict[str, int]:
    return {"x": 1}


async def waiting() -> dict[str, int]:
    await asyncio.sleep(0)
    return {"y": 2}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[None]:
    monkeypatch.setattr(registry, "_registered", [])
    use(settings)
    yield
    registry._forget()


def use(settings: Any, *checks: Any) -> None:
    given = [f"{HERE}.{check}" if isinstance(check, str) else check for check in checks]
    settings.REDIS_OPTIMIZER = {"HEALTH_CHECKS": given}


def names() -> list[str]:
    return [check.name for check in registry.get_checks()]


def results() -> dict[str, Result]:
    report = run_checks(registry.get_checks(), 30, 30)
    return {result.name: result for result in report.results}


# From the settings


def test_a_path_names_a_class_its_instances_a_check_or_a_function(
    settings: Any,
) -> None:
    use(settings, "Space", "Each", "one", "plain", "waiting")
    assert names() == ["space-root", "space-a", "space-b", "space-one", "plain", "waiting"]
    found = results()
    assert {result.status for result in found.values()} == {Status.OK}
    assert found["space-a"].component == "system"
    assert (found["plain"].observed, found["waiting"].observed) == (
        {"x": (1, "")},
        {"y": (2, "")},
    )


def test_options_go_to_what_the_path_names(settings: Any) -> None:
    use(
        settings,
        (f"{HERE}.Space", {"path": "/srv", "critical": False}),
        (f"{HERE}.one", {"timeout": 3}),
        (f"{HERE}.plain", {"name": "n", "component": "datastore", "ready": True}),
    )
    srv, timed, function = registry.get_checks()
    assert (srv.name, srv.critical, timed.name, timed.timeout) == (
        "space-srv",
        False,
        "space-one",
        3,
    )
    assert (function.name, function.component, function.ready) == ("n", "datastore", True)
    assert registry.problems() == []


def test_checks_are_made_once_for_the_settings(settings: Any) -> None:
    use(settings, "Space")
    assert registry.get_checks() is registry.get_checks()
    use(settings, "one")
    assert names() == ["space-one"]


@pytest.mark.parametrize(
    ("wrong", "path", "error"),
    [
        ("nothing", f"{HERE}.nothing", "ImportError: "),
        ("nothing.at.all", f"{HERE}.nothing.at.all", "ModuleNotFoundError: "),
        (("Space", {}), "Space", "ImportError: Space doesn't look like a module path"),
        ((f"{HERE}.Space", {"pat": "/"}), f"{HERE}.Space", "TypeError: "),
        ((f"{HERE}.plain", {"pat": "/"}), f"{HERE}.plain", "TypeError: "),
        ((f"{HERE}.one", {"pat": "/"}), f"{HERE}.one", "TypeError: "),
        ((f"{HERE}.plain", {"timeout": 0}), f"{HERE}.plain", "timeout must be a number"),
        ((f"{HERE}.plain", {"timeout": "2"}), f"{HERE}.plain", "timeout must be a number"),
        ((f"{HERE}.plain", {"name": "a:b"}), f"{HERE}.plain", "The name 'a:b' is not"),
        ("nameless", f"{HERE}.nameless", "The name 'a b' is not"),
        ("unnamed", f"{HERE}.unnamed", "The name 3 is not"),
        ("number", f"{HERE}.number", "It is neither a check nor a function, but 3."),
        ("NotACheck", f"{HERE}.NotACheck", "The class is not a subclass"),
        ("WithoutRun", f"{HERE}.WithoutRun", "TypeError: Can't instantiate abstract class"),
        ("Fails", f"{HERE}.Fails", "LookupError: no such disk"),
        ("Each", f"{HERE}.Each", "There is another check with the name 'space-a'."),
    ],
)
def test_what_cannot_be_made_fails_by_itself_and_is_named(
    settings: Any, wrong: Any, path: str, error: str
) -> None:
    use(settings, (f"{HERE}.Space", {"path": "/a"}), wrong, "plain")
    ((problem, text),) = registry.problems()
    assert problem == path
    assert text.startswith(error)
    good, broken, plain = results().values()
    assert (good.name, good.status, plain.name, plain.status) == ("space-a", "ok", "plain", "ok")
    assert (broken.name, broken.status, broken.is_defect) == (path, Status.FAILING, True)
    assert broken.error == f"{path}: {text}"


def test_one_that_cannot_be_made_and_is_not_critical_degrades(settings: Any) -> None:
    use(settings, (f"{HERE}.nothing", {"critical": False}))
    (broken,) = results().values()
    assert (broken.status, broken.is_defect) == (Status.DEGRADED, True)


def test_each_of_several_with_one_path_is_named(settings: Any) -> None:
    use(settings, "no thing", "no thing")
    assert names() == [f"{HERE}.no_thing", f"{HERE}.no_thing-2"]


# Registered


def test_functions_coroutines_and_classes_register_themselves() -> None:
    @health_check
    def licence() -> None:
        """Find nothing."""

    @health_check(name="search", critical=False, ready=True, timeout=3, component="datastore")
    async def find() -> None:
        raise Degraded("slow")

    @health_check(critical=False)
    @dataclass(frozen=True, kw_only=True)
    class Depth(Space):
        pass

    first, second, third = registry.get_checks()
    assert (first.name, first.critical, first.ready, first.timeout) == (
        "licence",
        True,
        False,
        None,
    )
    assert (second.name, second.critical, second.ready, second.timeout, second.component) == (
        "search",
        False,
        True,
        3,
        "datastore",
    )
    assert isinstance(third, Depth)
    assert not third.critical
    assert licence() is None
    assert results()["search"].status is Status.DEGRADED


def test_one_that_registers_later_is_found() -> None:
    assert names() == []
    health_check(plain)
    assert names() == ["plain"]


def test_what_the_settings_name_as_well_is_checked_once_as_they_say(
    settings: Any,
) -> None:
    health_check(name="mine")(plain)
    use(settings, (f"{HERE}.plain", {"name": "theirs"}))
    assert names() == ["theirs"]
    assert registry.problems() == []


def test_one_with_a_wrong_option_is_named() -> None:
    health_check(name="x")(Space)
    ((path, error),) = registry.problems()
    assert path == f"{HERE}.Space"
    assert "unexpected keyword argument 'name'" in error


def test_only_what_can_be_called_is_registered() -> None:
    with pytest.raises(TypeError, match="not 3"):
        health_check(3)  # type: ignore[type-var]


def test_the_health_checks_of_apps_are_imported_and_one_that_fails_is_named(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name, text in {
        "first_app": "raise SystemExit('no')",
        "second_app": "from redis_optimizer.health import health_check\n"
        "@health_check\ndef second(): pass",
        "third_app": None,
    }.items():
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").touch()
        if text is not None:
            (package / "health_checks.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "first_app", "second_app", "third_app"]
    assert apps.is_installed("third_app")
    assert names() == ["first_app.health_checks", "second"]
    assert registry.problems() == [("first_app.health_checks", "SystemExit: no")]
    assert isinstance(sys.modules["second_app.health_checks"], types.ModuleType)
