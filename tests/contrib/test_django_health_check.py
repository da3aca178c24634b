"""Checks of django-health-check run as ours do."""

import dataclasses
import subprocess
import sys
import threading
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from health_check.base import HealthCheck as Theirs
from health_check.exceptions import HealthCheckException, ServiceUnavailable, ServiceWarning

from redis_optimizer.contrib import django_health_check
from redis_optimizer.contrib.django_health_check import HealthCheck
from redis_optimizer.health.base import Degraded

LOCAL = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}


@dataclasses.dataclass
class Slow(Theirs):
    """Notes the thread that it runs in."""

    threads: list[Any]
    error: Exception | None = None

    def run(self) -> None:  # type: ignore[override]  # theirs may be either
        self.threads.append(threading.current_thread())
        if self.error is not None:
            raise self.error


class Old:
    """As checks of django-health-check 3 were."""

    def check_status(self) -> None:
        """Look."""


def test_a_coroutine(settings: Any) -> None:
    settings.CACHES = LOCAL
    check = HealthCheck(check="health_check.checks.Cache", options={"alias": "default"})
    assert check.run() is None


@pytest.mark.django_db
def test_a_function() -> None:
    HealthCheck(check="health_check.checks.Database").run()


def test_it_runs_in_the_thread_of_the_runner() -> None:
    threads: list[Any] = []
    HealthCheck(check=Slow, options={"threads": threads}).run()
    assert threads == [threading.current_thread()]


def test_a_warning_degrades_the_site() -> None:
    options = {"threads": [], "error": ServiceWarning("slow")}
    with pytest.raises(Degraded, match="Warning: slow"):
        HealthCheck(check=Slow, options=options).run()


@pytest.mark.parametrize("error", [ServiceUnavailable("gone"), KeyError("k")], ids=repr)
def test_another_error_is_one_of_the_check(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        HealthCheck(check=Slow, options={"threads": [], "error": error}).run()
    assert raised.value is error


def test_what_it_checks_is_gone() -> None:
    check = HealthCheck(check="health_check.checks.Cache", options={"alias": "absent"})
    with pytest.raises(HealthCheckException, match="does not exist"):
        check.run()


def test_names() -> None:
    path = f"{__name__}.{{}}".format
    options: dict[str, Any] = {"threads": []}
    assert HealthCheck(check=path("Slow"), options=options).name == "health-check-slow"
    assert HealthCheck(check=Slow, options=options).name == "health-check-slow"
    assert HealthCheck(check=Slow, options=options, label="mine").name == "mine"
    (check,) = HealthCheck.instances(check="health_check.checks.DNS", critical=False, timeout=9)
    assert (check.name, check.critical, check.timeout) == ("health-check-dns", False, 9)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"check": "health_check.checks.Absent"}, "cannot be imported"),
        ({"check": "Absent"}, "cannot be imported"),
        ({"check": "health_check.checks.Cache", "options": {"what": 1}}, "cannot be made"),
        ({"check": "health_check.contrib.redis.Redis"}, "cannot be made"),
        ({"check": Old}, r"has no run\(\)"),
    ],
)
def test_what_is_wrong_is_named_as_it_is_made(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says) as raised:
        HealthCheck(**given)
    assert "pip install" not in str(raised.value)


def test_without_the_library_it_names_the_package() -> None:
    code = """
import sys
from django.core.exceptions import ImproperlyConfigured
from redis_optimizer.contrib.django_health_check import HealthCheck
assert "health_check" not in sys.modules
sys.path[:] = [path for path in sys.path if "site-packages" not in path]
sys.path_importer_cache.clear()
try:
    HealthCheck(check="health_check.checks.Cache")
except ImproperlyConfigured as error:
    assert 'pip install "django-health-check>=4"' in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_is_what_is_installed() -> None:
    assert "django-health-check>=4" in django_health_check.PACKAGE
