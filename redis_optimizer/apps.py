"""The Django app."""

from django.apps import AppConfig


class RedisOptimizerConfig(AppConfig):
    """Register the system checks. Nothing here, or before the first read, touches the network."""

    name = "redis_optimizer"
    verbose_name = "Redis optimizer"

    def ready(self) -> None:
        from redis_optimizer import checks  # noqa: F401  # registers them
