"""The databases are asked, and migrations are looked for until all are applied."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connections
from django.test.utils import CaptureQueriesContext

from redis_optimizer.health.checks import Database, Migrations, database
from redis_optimizer.health.checks.database import Unapplied

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_applied", set())


@pytest.fixture
def other(tmp_path: Path, django_db_blocker: Any) -> Iterator[str]:
    """Add a database to the site and return its alias."""
    given = {**connections.settings["default"], "NAME": str(tmp_path / "other.sqlite3")}
    connections.settings["other"] = given
    with django_db_blocker.unblock():
        yield "other"
        connections["other"].close()
    del connections["other"], connections.settings["other"]


def migrate(alias: str, *target: str) -> None:
    call_command("migrate", *target, database=alias, verbosity=0)


def test_each_database_is_checked_and_ready_goes_by_the_default_one(other: str) -> None:
    checks = list(Database.instances())
    assert [(c.name, c.critical, c.ready) for c in checks] == [
        ("database", True, True),
        ("database-other", True, False),
    ]
    (check,) = Database.instances(alias=other, ready=True)
    assert (check.name, check.ready, check.component) == ("database-other", True, "datastore")


def test_a_site_without_a_database_has_no_such_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dummy = {**connections.settings["default"], "ENGINE": database.DUMMY}
    monkeypatch.setitem(connections.settings, "default", dummy)
    monkeypatch.setattr(connections["default"], "settings_dict", dummy)
    assert [Database.instances(), Migrations.instances()] == [[], []]


def test_it_is_one_query(django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections["default"], "vendor", "postgresql")
    with django_assert_num_queries(1) as queries:
        Database().run()
    assert queries.captured_queries[0]["sql"] == "SELECT 1"


def test_of_sqlite_the_file_is_read_for_select_1_would_not(other: str, tmp_path: Path) -> None:
    with CaptureQueriesContext(connections[other]) as queries:
        Database(alias=other).run()
    assert len(queries) == 1
    connections[other].close()
    (tmp_path / "other.sqlite3").write_text("overwritten " * 1_000)
    with pytest.raises(DatabaseError, match="not a database"):
        Database(alias=other).run()


def test_a_database_that_is_gone_is_seen(other: str, tmp_path: Path) -> None:
    Database(alias=other).run()
    connections[other].close()
    connections[other].settings_dict["NAME"] = str(tmp_path / "nowhere" / "db.sqlite3")
    with pytest.raises(DatabaseError):
        Database(alias=other).run()


def test_applied_migrations_are_looked_for_once(django_assert_num_queries: Any) -> None:
    (check,) = Migrations.instances()
    assert (check.name, check.critical, check.ready) == ("migrations", True, False)
    check.run()
    with django_assert_num_queries(0):
        check.run()


def test_those_that_are_not_applied_are_named_until_they_are(other: str) -> None:
    migrate(other, "contenttypes", "0001")
    migrate(other, "auth", "0001")
    for _ in range(2):
        with pytest.raises(Unapplied) as raised:
            Migrations().run()
    assert str(raised.value).startswith("Not applied: contenttypes.0002")
    assert "on other" in str(raised.value)
    assert ", ... (" in str(raised.value)
    migrate(other)
    Migrations().run()


def test_a_database_that_no_migration_runs_on_is_left_alone(other: str) -> None:
    Migrations().run()


class Auth:
    """A router that lets the users of the site migrate to another database, and nothing else."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "default" or app_label == "auth"


class Legacy:
    """A router for a database of another site, which has migrations of its own."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "default"


def test_of_another_database_what_its_router_lets_migrate_counts(other: str, settings: Any) -> None:
    migrate(other, "contenttypes", "0001")
    settings.DATABASE_ROUTERS = [Legacy()]
    Migrations().run()
    settings.DATABASE_ROUTERS = [Auth()]
    database._applied.clear()
    with pytest.raises(Unapplied) as raised:
        Migrations().run()
    assert str(raised.value).startswith("Not applied: auth.0001_initial on other")
    assert "contenttypes" not in str(raised.value)
    settings.DATABASE_ROUTERS = []


def test_a_default_database_without_a_migration_has_none_applied(
    other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "DEFAULT_DB_ALIAS", other)
    with pytest.raises(Unapplied, match="Not applied"):
        Migrations().run()


def test_of_another_database_nothing_is_known(other: str, tmp_path: Path) -> None:
    migrate(other)
    Migrations().run()
    connections[other].close()
    connections[other].settings_dict["NAME"] = str(tmp_path / "restored.sqlite3")
    migrate(other, "contenttypes", "0001")
    with pytest.raises(Unapplied):
        Migrations().run()


def test_apps_whose_migrations_are_disabled_have_none(settings: Any) -> None:
    settings.MIGRATION_MODULES = {"auth": None, "contenttypes": None}
    Migrations().run()
