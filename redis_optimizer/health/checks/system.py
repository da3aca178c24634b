"""The machine: where psutil is installed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar, Self

from redis_optimizer.health.base import Check, Degraded, Observed
from redis_optimizer.health.report import Observation

__all__ = ["Disk", "Memory"]


@dataclass(frozen=True, kw_only=True)
class Disk(Check):
    """The disk of a directory is not full.

    Args:
        path: The directory; None is the one that the process runs in.
        max_percent: How much of it may be used.
        min_free: Bytes that must be free.
    """

    component: ClassVar[str] = "system"

    critical: bool = False
    path: str | None = None
    max_percent: float = 90
    min_free: int = 0

    @classmethod
    def instances(cls, **options: Any) -> Iterable[Self]:
        """Return one check, where psutil is installed."""
        return [cls(**options)] if find_spec("psutil") else []

    @property
    def name(self) -> str:
        """``disk``, with the path where one is given."""
        words = re.sub(r"[\s:/\\]+", "-", str(self.path or "")).strip("-")
        return "disk" if self.path is None else f"disk-{words or 'root'}"

    def run(self) -> Observed:
        """Look at the disk.

        Raises:
            Degraded: when more is used than may be.
        """
        import psutil

        usage = psutil.disk_usage(str(self.path or "."))
        observed = {
            "used": Observation(usage.percent, "percent"),
            "free": Observation(usage.free, "bytes"),
        }
        if usage.percent > self.max_percent:
            raise Degraded(f"{usage.percent:g} % of the disk are used.", observed)
        if usage.free < self.min_free:
            raise Degraded(f"{usage.free} bytes of the disk are free.", observed)
        return observed


@dataclass(frozen=True, kw_only=True)
class Memory(Check):
    """The memory of the machine is not full; in a container, psutil sees that of the host.

    Args:
        max_percent: How much of it may be used.
    """

    component: ClassVar[str] = "system"

    critical: bool = False
    max_percent: float = 95

    @classmethod
    def instances(cls, **options: Any) -> Iterable[Self]:
        """Return one check, where psutil is installed."""
        return [cls(**options)] if find_spec("psutil") else []

    def run(self) -> Observed:
        """Look at the memory.

        Raises:
            Degraded: when more is used than may be.
        """
        import psutil

        memory = psutil.virtual_memory()
        observed = {
            "used": Observation(memory.percent, "percent"),
            "free": Observation(memory.available, "bytes"),
        }
        if memory.percent > self.max_percent:
            raise Degraded(f"{memory.percent:g} % of the memory are used.", observed)
        return observed
