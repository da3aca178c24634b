"""Replace what the cache holds whenever a page or the admin changes the database.

`QuerySet.update` and `bulk_create` send no signals: whoever uses them replaces the keys himself.
"""

from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from . import readings
from .models import Integration, Organisation, UserSettings

# Only after the commit: a reader must not see what may still be rolled back, and a value that is
# read from the database before it would be the old one.


@receiver([post_save, post_delete], sender=Integration)
def replace_statuses(instance: Integration, **kwargs: Any) -> None:
    """Replace the integrations of the organisation that one of them changed for."""
    organisation = instance.organisation_id
    transaction.on_commit(lambda: readings.replace_statuses(organisation))


@receiver([post_save, post_delete], sender=Organisation)
def replace_organisations(**kwargs: Any) -> None:
    """Replace the list of organisations."""
    transaction.on_commit(readings.replace_organisations)


@receiver([post_save, post_delete], sender=UserSettings)
def replace_user_settings(instance: UserSettings, **kwargs: Any) -> None:
    """Replace the settings of the user who saved them."""
    user = instance.user_id
    transaction.on_commit(lambda: readings.replace_user_settings(user))
