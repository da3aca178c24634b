"""The databases, and the migrations that are applied to them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from django.apps import AppConfig, apps
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.migrations.executor import MigrationExecutor

from redis_optimizer.health.base import Check
from redis_optimizer.health.checks.redis import alias_name

__all__ = ["Database", "Migrations", "Unapplied"]

NAMED: Final = 5
"""Migrations that a message names."""

DUMMY: Final = "django.db.backends.dummy"
"""What Django has for a site without a database."""

_applied: Final[set[tuple[str, object]]] = set()


@dataclass(frozen=True, kw_only=True)
class Database(Check):
    """A database answers ``SELECT 1``; one of SQLite, which would do so without its file, reads it.

    Left to itself it checks all of ``DATABASES``; ``ready/`` goes by the default one alone.

    Args:
        alias: Of the database.
    """

    component: ClassVar[str] = "datastore"

    alias: str = DEFAULT_DB_ALIAS

    @classmethod
    def instances(cls, **options: Any) -> Iterable[Self]:
        """Return one check for each database, or that of the alias that is named."""
        aliases = [options.pop("alias")] if "alias" in options else [c.alias for c in _real()]
        return [
            cls(alias=alias, **{"ready": alias == DEFAULT_DB_ALIAS, **options}) for alias in aliases
        ]

    @property
    def name(self) -> str:
        """``database``, with the alias where that is not the default."""
        return alias_name("database", self.alias)

    def run(self) -> None:
        """Ask the database.

        Raises:
            django.db.Error: when it does not answer.
        """
        connection = connections[self.alias]
        is_file = connection.vendor == "sqlite"
        of = " FROM sqlite_master LIMIT 1" if is_file else connection.features.bare_select_suffix
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1" + of)
            cursor.fetchone()


class Unapplied(Exception):
    """The code has migrations that a database has not."""


@dataclass(frozen=True, kw_only=True)
class Migrations(Check):
    """All migrations of the code are applied.

    Once that is so, this process does not look again: its code gets no new ones, and the queries
    are saved. A database that is set back under a running process is not noticed. Of a database
    other than the default, only the apps count for which ``DATABASE_ROUTERS`` let a model migrate
    there, and one that has no migration at all is left alone.
    """

    @classmethod
    def instances(cls, **options: Any) -> Iterable[Self]:
        """Return one check, where there is a database."""
        return [cls(**options)] if _real() else []

    def run(self) -> None:
        """Compare what is applied with what there is.

        Raises:
            Unapplied: when some are not; names the first of them.
        """
        missing: list[str] = []
        for connection in _real():
            database = (connection.alias, connection.settings_dict["NAME"])
            if database not in _applied:
                found = _unapplied(connection)
                if not found:
                    _applied.add(database)
                missing += found
        if missing:
            named = ", ".join(missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
            raise Unapplied(f"Not applied: {named} ({len(missing)} in all).")


def _real() -> list[Any]:
    return [c for c in connections.all() if c.settings_dict["ENGINE"] != DUMMY]


def _unapplied(connection: Any) -> list[str]:
    alias = connection.alias
    if alias == DEFAULT_DB_ALIAS:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        return [str(migration) for migration, _ in plan]
    labels = {app.label for app in apps.get_app_configs() if _migrates(app, alias)}
    if not labels:  # it is another site's, whose migrations are not ours
        return []
    executor = MigrationExecutor(connection)
    if not executor.loader.applied_migrations:
        return []
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration} on {alias}" for migration, _ in plan if migration.app_label in labels]


def _migrates(app: AppConfig, alias: str) -> bool:
    return any(router.allow_migrate_model(alias, model) for model in app.get_models())
