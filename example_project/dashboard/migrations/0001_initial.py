"""The dashboard's first tables."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Create organisations, integrations and user settings."""

    initial = True
    dependencies = (migrations.swappable_dependency(settings.AUTH_USER_MODEL),)
    operations = (
        migrations.CreateModel(
            name="Organisation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
            ],
            options={"ordering": ("name",)},
        ),
        migrations.CreateModel(
            name="UserSettings",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "theme",
                    models.CharField(
                        choices=[
                            ("system", "Same as my device"),
                            ("light", "Light"),
                            ("dark", "Dark"),
                        ],
                        default="system",
                        max_length=10,
                        verbose_name="colours",
                    ),
                ),
                (
                    "timezone",
                    models.CharField(
                        choices=[
                            ("UTC", "UTC"),
                            ("America/Los_Angeles", "America/Los Angeles"),
                            ("America/New_York", "America/New York"),
                            ("America/Sao_Paulo", "America/Sao Paulo"),
                            ("Europe/London", "Europe/London"),
                            ("Europe/Berlin", "Europe/Berlin"),
                            ("Africa/Nairobi", "Africa/Nairobi"),
                            ("Asia/Kolkata", "Asia/Kolkata"),
                            ("Asia/Tokyo", "Asia/Tokyo"),
                            ("Australia/Sydney", "Australia/Sydney"),
                        ],
                        default="UTC",
                        max_length=40,
                        verbose_name="time zone",
                    ),
                ),
                (
                    "failing_first",
                    models.BooleanField(
                        default=True, verbose_name="show failing integrations first"
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="dashboard_settings",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"verbose_name_plural": "user settings"},
        ),
        migrations.CreateModel(
            name="Integration",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "provider",
                    models.CharField(
                        choices=[
                            ("github", "GitHub"),
                            ("gitlab", "GitLab"),
                            ("hubspot", "HubSpot"),
                            ("jira", "Jira"),
                            ("mailchimp", "Mailchimp"),
                            ("salesforce", "Salesforce"),
                            ("shopify", "Shopify"),
                            ("slack", "Slack"),
                            ("stripe", "Stripe"),
                            ("zendesk", "Zendesk"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("working", "Working"),
                            ("failing", "Failing"),
                            ("paused", "Paused"),
                        ],
                        default="working",
                        max_length=10,
                    ),
                ),
                ("last_sync", models.DateTimeField(blank=True, null=True)),
                ("error", models.CharField(blank=True, max_length=200)),
                (
                    "organisation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="integrations",
                        to="dashboard.organisation",
                    ),
                ),
            ],
            options={
                "ordering": ("provider",),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organisation", "provider"), name="one_integration_per_provider"
                    )
                ],
            },
        ),
    )
