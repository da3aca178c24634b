"""What a check is: it returns what it saw, or raises."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from redis_optimizer.health.report import Observation

__all__ = ["NAME", "Check", "Defect", "Degraded", "Observed"]

Observed = Mapping[str, Observation | float | str] | None

NAME: Final = re.compile(r"[^\s:]+")  # the IETF's draft puts a colon behind it


class Degraded(Exception):
    """What is checked works, but worse than it should: the site is degraded, not failing.

    Args:
        reason: What is wrong, shown to staff.
        observed: What was seen, as `Check.run` returns it.
    """

    def __init__(self, reason: str, observed: Observed = None) -> None:
        super().__init__(reason)
        self.observed = observed


class Defect(Exception):
    """The check itself is broken: it says nothing of what it is about.

    Args:
        reason: What is wrong with it, shown to staff.
    """


@dataclass(frozen=True, kw_only=True)
class Check(ABC):
    """A check of one part of the site. Subclasses are frozen dataclasses, too.

    Args:
        critical: Without what is checked the site does not work. False: its failure only degrades.
        ready: Part of ``ready/``: a process that this fails for gets no requests.
        timeout: Seconds that it may take; None is ``REDIS_OPTIMIZER["HEALTH_CHECK_TIMEOUT"]``.
    """

    component: ClassVar[str] = "component"
    """The type of what is checked: "datastore", "component" or "system"."""

    critical: bool = True
    ready: bool = False
    timeout: float | None = None

    @classmethod
    def instances(cls, **options: Any) -> Iterable[Self]:
        """Return the checks that a path in ``HEALTH_CHECKS`` stands for: one, unless overridden.

        A class may look for what there is on the site, and return one for each, or none. It must
        not ask a server: there is no deadline here.
        """
        return [cls(**options)]

    @property
    def name(self) -> str:
        """What it is called in a report; without spaces and colons, unique among all checks."""
        return type(self).__name__.lower()

    @abstractmethod
    def run(self) -> Observed:
        """Look at what is checked; runs in a thread of its own, and may be a coroutine function.

        Returns:
            What was seen, by name, or None.

        Raises:
            Degraded: it works, but worse than it should.
            Exception: it does not work.
        """
