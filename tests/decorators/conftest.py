"""Each test begins with nothing kept, on a clock of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import RequestFactory, override_settings

from redis_optimizer.decorators.shelf import shelf
from redis_optimizer.health.audience import known

from . import site

SITE: dict[str, Any] = {
    "ALLOWED_HOSTS": ["testserver", "a.example", "b.example"],
    "ROOT_URLCONF": "tests.decorators.site",
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    "LANGUAGES": [("en", "English"), ("de", "Deutsch")],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [("django.template.loaders.locmem.Loader", site.TEMPLATES)],
                "context_processors": ["django.contrib.auth.context_processors.auth"],
            },
        }
    ],
}


class Clock:
    """A clock that goes on when told to; that of a later test shows a later time."""

    starts: Iterator[int] = itertools.count(1_000, 10_000)

    def __init__(self) -> None:
        self.time = float(next(self.starts))

    def __call__(self) -> float:
        return self.time


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Yield the clock that the ages of responses are told by."""
    clock = Clock()
    monkeypatch.setattr(shelf, "now", clock)
    monkeypatch.setattr(known, "now", clock)
    with override_settings(**SITE):
        shelf.clear()
        known.clear()
        site.runs.clear()
        yield clock
        shelf.clear()
        known.clear()


@pytest.fixture
def rf() -> RequestFactory:
    """Return what makes requests that no middleware has seen."""
    return RequestFactory()
