"""The checks of the site: those that ``HEALTH_CHECKS`` names, and those that are registered."""

import dataclasses
import functools
import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar, overload

from django.apps import apps
from django.core.signals import setting_changed
from django.utils.module_loading import import_string, module_has_submodule

from redis_optimizer.conf import get_settings
from redis_optimizer.health.base import NAME, Check, Defect, Observed
from redis_optimizer.health.examine import describe

__all__ = ["get_checks", "health_check", "problems"]

MODULE: Final = "health_checks"
"""What an app calls the module that registers its checks."""

T = TypeVar("T", bound=Callable[..., Any])


class Registered(NamedTuple):
    """What `health_check` was put on, and what it was told."""

    target: Any
    options: dict[str, Any]


class Resolved(NamedTuple):
    """What there is on this site."""

    checks: tuple[Check, ...]
    problems: tuple[tuple[str, str], ...]
    registered: int  # of `_registered`, those that were seen


_registered: Final[list[Registered]] = []
_resolved: Resolved | None = None


@overload
def health_check(target: T, /) -> T: ...


@overload
def health_check(
    *,
    name: str | None = None,
    critical: bool | None = None,
    ready: bool | None = None,
    timeout: float | None = None,
    component: str | None = None,
) -> Callable[[T], T]: ...


def health_check(target: T | None = None, /, **options: Any) -> T | Callable[[T], T]:
    """Register a function, a coroutine function or a subclass of `Check` as a check of the site.

    Modules named ``health_checks`` of installed apps are imported before the first run.

    Args:
        target: What it is put on. A function does what `Check.run` does.
        name: Of the check, unique; the function's own unless given.
        critical: Without what is checked the site does not work; True unless given.
        ready: Part of ``ready/``; False unless given.
        timeout: Seconds that it may take.
        component: The type of what is checked: "datastore", "component" or "system".

    Raises:
        TypeError: it was put on something else.
    """
    given = {name: value for name, value in options.items() if value is not None}

    def register(target: T) -> T:
        if not callable(target):
            raise TypeError(f"A check is a function or a subclass of Check, not {target!r}.")
        _registered.append(Registered(target, given))
        return target

    return register if target is None else register(target)


def get_checks() -> tuple[Check, ...]:
    """Return the checks of this site. What cannot be made is a check that fails and says why."""
    return _resolve().checks


def problems() -> list[tuple[str, str]]:
    """Return what cannot be made: the path of each, and the error."""
    return list(_resolve().problems)


def _resolve() -> Resolved:
    # Without a lock: modules that are imported here, and at the same time elsewhere, register.
    # Two threads that come first may both make the checks; they are equal.
    global _resolved
    resolved = _resolved
    if resolved is None or resolved.registered != len(_registered):
        resolved = _resolved = _collect()
    return resolved


def _collect() -> Resolved:
    found = Collection()
    for item in get_settings().HEALTH_CHECKS:
        path, options = (item, {}) if isinstance(item, str) else item
        found.add(path, options, functools.partial(import_string, path))
    for config in apps.get_app_configs():
        if config.module is not None and module_has_submodule(config.module, MODULE):
            path = f"{config.name}.{MODULE}"
            try:
                importlib.import_module(path)
            except (Exception, SystemExit) as error:
                found.fail(path, {}, error)
    registered = list(_registered)
    for target, options in registered:
        # Named in the settings as well: those say what its options are.
        if not any(target is known for known in found.targets):
            path = f"{target.__module__}.{getattr(target, '__qualname__', type(target).__name__)}"
            found.add(path, options, functools.partial(_itself, target))
    return Resolved(tuple(found.checks.values()), tuple(found.problems), len(registered))


class Collection:
    """Checks by name, and what is wrong with the others."""

    def __init__(self) -> None:
        self.checks: dict[str, Check] = {}
        self.problems: list[tuple[str, str]] = []
        self.targets: list[Any] = []

    def add(self, path: str, options: Mapping[str, Any], load: Callable[[], Any]) -> None:
        """Make the checks that ``load`` returns the target of; none of them if one is wrong."""
        try:
            target = load()
            self.targets.append(target)
            made: dict[str, Check] = {}
            for check in _make(target, options):
                name = _validated(check)
                if name in self.checks or name in made:
                    raise Defect(f"There is another check with the name {name!r}.")
                made[name] = check
        except (Exception, SystemExit) as error:
            self.fail(path, options, error)
        else:
            self.checks |= made

    def fail(self, path: str, options: Mapping[str, Any], error: BaseException) -> None:
        """Put a check in its place that fails with the error."""
        text = describe(error, named=not isinstance(error, Defect))
        self.problems.append((path, text))
        # Not its class's: it is not known. Of what fails in every process at once, none is ready.
        is_critical = options.get("critical") is not False
        name = free = "".join(char if NAME.fullmatch(char) else "_" for char in path) or "_"
        number = 1
        while free in self.checks:
            number += 1
            free = f"{name}-{number}"
        self.checks[free] = Broken(label=free, error=f"{path}: {text}", critical=is_critical)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Broken(Check):
    """Stands for a check that cannot be made."""

    label: str
    error: str

    @property
    def name(self) -> str:
        return self.label

    def run(self) -> Observed:
        raise Defect(self.error)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FunctionCheck(Check):
    """Runs a function, or a coroutine function."""

    function: Callable[[], Observed]
    label: str
    kind: str = "component"

    @property
    def name(self) -> str:
        return self.label

    @property
    def component(self) -> str:  # type: ignore[override]  # here it is each one's own
        return self.kind

    def run(self) -> Observed:
        return self.function()


def _itself(target: T) -> T:
    return target


def _make(target: Any, options: Mapping[str, Any]) -> Iterable[Check]:
    if isinstance(target, Check):
        return [dataclasses.replace(target, **options)]
    if isinstance(target, type):
        if not issubclass(target, Check):
            raise Defect("The class is not a subclass of redis_optimizer.health.Check.")
        return target.instances(**options)
    if not callable(target):
        raise Defect(f"It is neither a check nor a function, but {target!r}.")
    return [_of_function(target, **options)]


def _of_function(
    function: Callable[[], Observed],
    *,
    name: str | None = None,
    component: str = "component",
    **options: Any,
) -> FunctionCheck:
    own = getattr(function, "__name__", type(function).__name__)
    return FunctionCheck(
        function=function, label=own if name is None else name, kind=component, **options
    )


def _validated(check: object) -> str:
    """Return the name of a check that can be run.

    Raises:
        Defect: it cannot.
    """
    if not isinstance(check, Check):
        raise Defect(f"instances() returned {check!r}, which is not a check.")
    name, timeout = check.name, check.timeout
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Defect(f"The name {name!r} is not a string without spaces and colons.")
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if timeout is not None and not (is_number and timeout > 0):
        raise Defect(f"timeout must be a number of seconds, more than 0, not {timeout!r}.")
    return name


def _forget(**kwargs: object) -> None:
    # Whatever changed: which checks there are depends on CACHES, DATABASES and others, too.
    global _resolved
    _resolved = None


setting_changed.connect(_forget, dispatch_uid="redis_optimizer.health.registry")
