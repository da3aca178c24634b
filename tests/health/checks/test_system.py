"""The machine is looked at where psutil is installed."""

from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from redis_optimizer.health.base import Degraded
from redis_optimizer.health.checks import Disk, Memory, system
from redis_optimizer.health.report import Observation


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine be nearly full."""
    usage: Any = SimpleNamespace(percent=97.5, free=1000, available=1000)
    monkeypatch.setattr(psutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: usage)


@pytest.mark.parametrize("kind", [Disk, Memory])
def test_it_shows_what_is_used(kind: Any) -> None:
    (check,) = kind.instances(max_percent=100)
    observed = check.run()
    assert {name: seen.unit for name, seen in observed.items()} == {
        "used": "percent",
        "free": "bytes",
    }
    assert (check.component, check.critical, check.ready) == ("system", False, False)


@pytest.mark.parametrize("kind", [Disk, Memory])
def test_too_much_degrades_the_site(full: None, kind: Any) -> None:
    with pytest.raises(Degraded, match=r"97\.5 %") as raised:
        kind().run()
    assert raised.value.observed == {
        "used": Observation(97.5, "percent"),
        "free": Observation(1000, "bytes"),
    }
    kind(max_percent=98).run()


def test_bytes_that_must_be_free(full: None) -> None:
    with pytest.raises(Degraded, match="1000 bytes"):
        Disk(max_percent=98, min_free=1001).run()
    Disk(max_percent=98, min_free=1000).run()


def test_a_directory_that_does_not_exist() -> None:
    with pytest.raises(OSError, match="nowhere"):
        Disk(path="/nowhere").run()


def test_each_path_has_a_name_of_its_own() -> None:
    paths = [None, "/", "/srv/my media", "C:\\data"]
    names = [check.name for path in paths for check in Disk.instances(path=path)]
    assert names == ["disk", "disk-root", "disk-srv-my-media", "disk-C-data"]


@pytest.mark.parametrize("kind", [Disk, Memory])
def test_without_psutil_there_is_no_such_check(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "find_spec", lambda name: None)
    assert kind.instances() == []
