"""The dashboard app."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """Connect the signal handlers that keep the cache in step with the database."""

    name = "example_project.dashboard"
    verbose_name = "Integrations dashboard"

    def ready(self) -> None:
        """Import the handlers; nothing here touches the network."""
        from . import signals  # noqa: F401  (importing connects them)
