"""Run the checks of django-health-check as checks of ours."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from redis_optimizer.health.base import Check, Degraded

__all__ = ["HealthCheck"]

PACKAGE: Final = 'django-health-check: pip install "django-health-check>=4"'


@dataclass(frozen=True, kw_only=True)
class HealthCheck(Check):
    """A check of django-health-check 4.

    ::

        REDIS_OPTIMIZER = {"HEALTH_CHECKS": [
            ("redis_optimizer.contrib.django_health_check.HealthCheck",
             {"check": "health_check.checks.Storage", "options": {"alias": "media"}}),
        ]}

    Its ``ServiceWarning`` degrades; its own ``timeout`` does not hold, but that of this check.

    Args:
        check: Dotted path of its class, or the class.
        options: What the class takes.
        label: Its name in the report; None: ``health-check-`` and the name of the class.

    Raises:
        ImproperlyConfigured: when it cannot be imported or made.
    """

    check: str | type[Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None

    def __post_init__(self) -> None:
        try:
            found = self._make()
        except ImportError as error:
            needs = "" if find_spec("health_check") else f" It needs {PACKAGE}."
            raise ImproperlyConfigured(
                f"{self.check} cannot be imported: {error}.{needs}"
            ) from error
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"{self.check} cannot be made: {error}") from error
        if not callable(getattr(found, "run", None)):
            raise ImproperlyConfigured(
                f"{self.check} is no check of django-health-check 4: it has no run()."
            )

    @property
    def name(self) -> str:
        """The label, or one made of the name of the class."""
        if self.label is not None:
            return self.label
        words = (
            self.check.rpartition(".")[2] if isinstance(self.check, str) else self.check.__name__
        )
        return "health-check-" + re.sub(r"(?<=[a-z])(?=[A-Z])", "-", words).lower()

    def run(self) -> None:
        """Run it.

        Raises:
            Degraded: for its ServiceWarning.
            Exception: whatever else it raises.
        """
        from health_check.exceptions import ServiceWarning

        check = self._make()
        # What is synchronous in a coroutine runs in this thread, whose database connections are
        # closed when the check is over.
        run = async_to_sync(check.run) if inspect.iscoroutinefunction(check.run) else check.run
        try:
            run()
        except ServiceWarning as warning:
            raise Degraded(str(warning)) from warning

    def _make(self) -> Any:
        made = import_string(self.check) if isinstance(self.check, str) else self.check
        return made(**self.options)
