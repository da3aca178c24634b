"""Everything that the pages read through the cache, and how it is kept in step with the database.

A reader fills a key with `add` (`get_or_set` does the same), a writer replaces it with `set`: a
reader that was slower than a writer can never put the older value back. Where pages and jobs write
the same key, they take turns, and whoever comes last has read what all others committed.
"""

import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import TypedDict

from django.core.cache import cache

from .models import Integration, Organisation, UserSettings

STATUS_TTL = 300  # seconds
SETTINGS_TTL = 1800
LOCK_TTL = 10  # seconds until the lock of a process that was killed is free
LOCK_POLL = 0.01

ORGANISATIONS_KEY = "organisations"


class Status(TypedDict):
    """One integration as the pages and the API show it."""

    id: int
    provider: str
    name: str
    state: str
    state_name: str
    last_sync: datetime | None
    error: str


STATUS_FIELDS = tuple(Status.__annotations__)


class Settings(TypedDict):
    """One user's settings."""

    theme: str
    timezone: str
    failing_first: bool


Rows = tuple[str, tuple[tuple[object, ...], ...]]
"""Rows of the database as they are cached, behind a text that is another one after each change.

Of tuples alone: what cannot be changed is not copied for each reader.
"""


def status_key(organisation: int) -> str:
    """Return the key of an organisation's integrations."""
    return f"integrations:{organisation}"


def settings_key(user: int) -> str:
    """Return the key of a user's settings."""
    return f"user-settings:{user}"


def organisations() -> dict[int, str]:
    """Return the name of every organisation by its id, in the order of the names."""
    return dict(_organisations()[1])  # type: ignore[arg-type]  # pairs


def statuses(organisation: int) -> list[Status]:
    """Return the integrations of one organisation."""
    return _as_statuses(_statuses(organisation))


def all_statuses(organisations: Iterable[int]) -> dict[int, list[Status]]:
    """Return the integrations of several organisations: one round trip, one query for the rest."""
    keys = {pk: status_key(pk) for pk in organisations}
    cached = cache.get_many(keys.values())
    missing = [pk for pk, key in keys.items() if key not in cached]
    loaded = load_statuses(missing) if missing else {}
    for pk, value in loaded.items():
        cache.add(keys[pk], value, STATUS_TTL)
    return {
        pk: _as_statuses(loaded[pk] if pk in loaded else cached[key]) for pk, key in keys.items()
    }


def version(organisation: int) -> tuple[str, ...]:
    """Return what differs after each change of an organisation or of its integrations."""
    known, names = _organisations()
    is_known = any(pk == organisation for pk, _ in names)
    return (known, _statuses(organisation)[0]) if is_known else (known,)


def _organisations() -> Rows:
    found: Rows = cache.get_or_set(ORGANISATIONS_KEY, load_organisations, STATUS_TTL)
    return found


def _statuses(organisation: int) -> Rows:
    found: Rows = cache.get_or_set(
        status_key(organisation), lambda: load_statuses([organisation])[organisation], STATUS_TTL
    )
    return found


def _as_statuses(rows: Rows) -> list[Status]:
    return [Status(**dict(zip(STATUS_FIELDS, row, strict=True))) for row in rows[1]]  # type: ignore[typeddict-item]


def user_settings(user: int) -> Settings:
    """Return the settings of one user."""
    found: Settings = cache.get_or_set(
        settings_key(user), lambda: load_user_settings(user), SETTINGS_TTL
    )
    return found


def replace_organisations() -> None:
    """Put the list of organisations as it is now in the cache."""
    cache.set(ORGANISATIONS_KEY, load_organisations(), STATUS_TTL)


def replace_statuses(organisation: int) -> None:
    """Put the integrations of an organisation as they are now in the cache."""
    key = status_key(organisation)
    with cache.lock(f"{key}:lock", timeout=LOCK_TTL, sleep=LOCK_POLL):
        cache.set(key, load_statuses([organisation])[organisation], STATUS_TTL)


def replace_user_settings(user: int) -> None:
    """Put the settings of a user as they are now in the cache."""
    cache.set(settings_key(user), load_user_settings(user), SETTINGS_TTL)


def load_organisations() -> Rows:
    """Read the organisations from the database."""
    return secrets.token_hex(8), tuple(Organisation.objects.values_list("pk", "name"))


def load_statuses(organisations: list[int]) -> dict[int, Rows]:
    """Read the integrations of the organisations from the database in one query."""
    found: dict[int, list[tuple[object, ...]]] = {pk: [] for pk in organisations}
    for row in Integration.objects.filter(organisation__in=organisations):
        status = Status(
            id=row.pk,
            provider=row.provider,
            name=row.get_provider_display(),
            state=row.state,
            state_name=row.get_state_display(),
            last_sync=row.last_sync,
            error=row.error,
        )
        found[row.organisation_id].append(tuple(status[name] for name in STATUS_FIELDS))
    return {pk: (secrets.token_hex(8), tuple(rows)) for pk, rows in found.items()}


def load_user_settings(user: int) -> Settings:
    """Read a user's settings from the database; without a row they are the defaults."""
    return as_settings(UserSettings.objects.filter(user=user).first() or UserSettings())


def as_settings(row: UserSettings) -> Settings:
    """Return a row as the plain values that are cached."""
    return Settings(theme=row.theme, timezone=row.timezone, failing_first=row.failing_first)
