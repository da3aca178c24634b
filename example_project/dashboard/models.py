"""What the dashboard shows and what its jobs write."""

from django.conf import settings
from django.db import models

from .choices import TIMEZONES, Provider, State, Theme


class Organisation(models.Model):
    """A customer whose integrations are watched."""

    name = models.CharField(max_length=100, unique=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Integration(models.Model):
    """One provider connected for one organisation."""

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="integrations"
    )
    provider = models.CharField(max_length=20, choices=Provider)
    state = models.CharField(max_length=10, choices=State, default=State.WORKING)
    last_sync = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("provider",)
        constraints = (
            models.UniqueConstraint(
                fields=("organisation", "provider"), name="one_integration_per_provider"
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_provider_display()} of {self.organisation}"


class UsageDay(models.Model):
    """How often the pages of an organisation were viewed on one day, in UTC."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="usage")
    day = models.DateField()
    views = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ("-day", "organisation")
        constraints = (
            models.UniqueConstraint(fields=("organisation", "day"), name="one_count_per_day"),
        )

    def __str__(self) -> str:
        return f"{self.organisation} on {self.day}: {self.views}"


class Digest(models.Model):
    """What one user was told on one day about integrations that need somebody."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="digests"
    )
    day = models.DateField()
    text = models.TextField()

    class Meta:
        ordering = ("-day", "user")
        constraints = (models.UniqueConstraint(fields=("user", "day"), name="one_digest_per_day"),)

    def __str__(self) -> str:
        return f"Digest for {self.user} on {self.day}"


class UserSettings(models.Model):
    """What one user chose; a user without a row has the defaults."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="dashboard_settings"
    )
    theme = models.CharField("colours", max_length=10, choices=Theme, default=Theme.SYSTEM)
    timezone = models.CharField(
        "time zone",
        max_length=40,
        choices=[(name, name.replace("_", " ")) for name in TIMEZONES],
        default="UTC",
    )
    failing_first = models.BooleanField("show failing integrations first", default=True)

    class Meta:
        verbose_name_plural = "user settings"

    def __str__(self) -> str:
        return f"Settings of {self.user}"
