"""The site, its users, and processes that have channels."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings

from redis_optimizer.embedded import EmbeddedServer
from tests.admin.site import SETTINGS
from tests.stats.processes import Reader, readers

LogIn = Callable[..., Client]


@pytest.fixture(scope="package")
def settings_in_force(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Put the site's settings in force: for all tests, as it takes long to load its apps.

    The admin's log is the one table that is missing in the tests' own database.
    """
    with override_settings(**SETTINGS), django_db_blocker.unblock():
        from django.contrib.admin.models import LogEntry

        with connection.schema_editor() as editor:
            editor.create_model(LogEntry)
        try:
            yield
        finally:
            with connection.schema_editor() as editor:
                editor.delete_model(LogEntry)


@pytest.fixture
def site(settings_in_force: None, db: None) -> None:
    """Serve the site to the test's clients."""


@pytest.fixture
def log_in(site: None) -> LogIn:
    """Return what makes a client that is logged in."""

    def make(*permissions: str, is_staff: bool = True, **options: Any) -> Client:
        from django.contrib.auth.models import Permission, User

        user = User.objects.create_user("ann", password="secret", is_staff=is_staff)
        for name in permissions:
            found = Permission.objects.get(content_type__app_label="redis_optimizer", codename=name)
            user.user_permissions.add(found)
        client = Client(**options)
        client.force_login(user)
        return client

    return make


@pytest.fixture(scope="package")
def processes(server: EmbeddedServer) -> Iterator[list[Reader]]:
    """Run two processes of the site, which are there for all tests."""
    with readers(2) as started:
        yield started
