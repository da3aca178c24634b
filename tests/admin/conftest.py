"""The site, its users, and processes that have channels."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from redis_optimizer.embedded import EmbeddedServer
from tests.admin.site import in_force, log_in_as
from tests.stats.processes import Reader, readers

LogIn = Callable[..., Client]


@pytest.fixture(scope="package")
def settings_in_force(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock(), in_force():
        yield


@pytest.fixture
def log_in(settings_in_force: None, db: None) -> LogIn:
    """Return what makes a user, and a client that is logged in."""
    return log_in_as


@pytest.fixture(scope="package")
def processes(server: EmbeddedServer) -> Iterator[list[Reader]]:
    """Run two processes of the site, which are there for all tests."""
    with readers(2) as started:
        yield started
