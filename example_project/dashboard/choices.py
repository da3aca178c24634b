"""What the fields of the models can hold."""

from django.db import models


class Provider(models.TextChoices):
    """The services that an organisation can connect."""

    GITHUB = "github", "GitHub"
    GITLAB = "gitlab", "GitLab"
    HUBSPOT = "hubspot", "HubSpot"
    JIRA = "jira", "Jira"
    MAILCHIMP = "mailchimp", "Mailchimp"
    SALESFORCE = "salesforce", "Salesforce"
    SHOPIFY = "shopify", "Shopify"
    SLACK = "slack", "Slack"
    STRIPE = "stripe", "Stripe"
    ZENDESK = "zendesk", "Zendesk"


class State(models.TextChoices):
    """How an integration does."""

    WORKING = "working", "Working"
    FAILING = "failing", "Failing"
    PAUSED = "paused", "Paused"


class Theme(models.TextChoices):
    """The colours that a user prefers."""

    SYSTEM = "system", "Same as my device"
    LIGHT = "light", "Light"
    DARK = "dark", "Dark"


TIMEZONES = (
    "UTC",
    "America/Los_Angeles",
    "America/New_York",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Berlin",
    "Africa/Nairobi",
    "Asia/Kolkata",
    "Asia/Tokyo",
    "Australia/Sydney",
)
