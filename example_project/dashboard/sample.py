"""Sample data: loading it again adds what is missing and leaves the rest as it is.

Only bulk operations, so no signal is sent and the cache is not touched: load it before the site
starts.
"""

import random
from datetime import timedelta

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.utils import timezone

from .accounts import OPERATORS, PASSWORD, SUPERUSER, VIEWERS
from .choices import TIMEZONES, Provider, State
from .models import Integration, Organisation, UserSettings

PER_ORGANISATION = 8

ORGANISATIONS = (
    "Alder & Finch",
    "Brightwater Foods",
    "Cobalt Cycles",
    "Dunmore Insurance",
    "Eastgate Clinics",
    "Fernhill Books",
    "Glasshouse Studio",
    "Harbour Freight Lines",
    "Ironbark Timber",
    "Juniper Hotels",
    "Kestrel Robotics",
    "Lantern Media",
    "Millrace Energy",
    "Northfield Schools",
    "Orchard Lane Bakery",
    "Pinecrest Outdoor",
    "Quayside Property",
    "Redwing Airways",
    "Stonebridge Legal",
    "Tidewater Research",
)
ERRORS = (
    "The access token has expired. Connect the account again.",
    "The provider answered 429: too many requests.",
    "The webhook's signature did not match.",
    "No answer within 30 seconds.",
)


@transaction.atomic
def load() -> None:
    """Add the sample organisations, integrations, users and settings."""
    load_integrations()
    load_users()


def load_integrations() -> None:
    """Add the organisations with eight integrations each; most of them work."""
    chance = random.Random(2)  # noqa: S311  (the same data in every database)
    now = timezone.now()
    Organisation.objects.bulk_create(
        [Organisation(name=name) for name in ORGANISATIONS], ignore_conflicts=True
    )
    rows = []
    for organisation in Organisation.objects.filter(name__in=ORGANISATIONS):
        for provider in chance.sample(list(Provider), PER_ORGANISATION):
            state = chance.choices(list(State), weights=(16, 1, 2))[0]
            minutes = chance.randint(1, 14) if state == State.WORKING else chance.randint(60, 9000)
            rows.append(
                Integration(
                    organisation=organisation,
                    provider=provider,
                    state=state,
                    last_sync=now - timedelta(minutes=minutes),
                    error=chance.choice(ERRORS) if state == State.FAILING else "",
                )
            )
    Integration.objects.bulk_create(rows, ignore_conflicts=True)


def load_users() -> None:
    """Add a superuser, operators, who may pause and resume, and viewers, who may not."""
    group, _ = Group.objects.get_or_create(name="Operators")
    group.permissions.set(
        Permission.objects.filter(content_type__app_label="dashboard").exclude(
            codename__startswith="delete"
        )
    )
    # Hashed once: it takes a third of a second, and all of them share it.
    password = make_password(PASSWORD)
    User.objects.bulk_create(
        [
            User(username=SUPERUSER, password=password, is_staff=True, is_superuser=True),
            *(User(username=name, password=password, is_staff=True) for name in OPERATORS),
            *(User(username=name, password=password) for name in VIEWERS),
        ],
        ignore_conflicts=True,
    )
    group.user_set.add(*User.objects.filter(username__in=OPERATORS))
    viewers = User.objects.filter(username__in=VIEWERS)
    UserSettings.objects.bulk_create(
        [UserSettings(user=user, timezone=TIMEZONES[i]) for i, user in enumerate(viewers)],
        ignore_conflicts=True,
    )
