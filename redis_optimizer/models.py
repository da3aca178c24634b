"""What the admin page is shown under, and who may do what there. There is no table."""

from typing import Any, ClassVar

from django.db import models
from django.utils.translation import pgettext_lazy

__all__ = ["Overview"]


class NoObjects(models.Manager[Any]):
    """Find nothing, without a query: ``dumpdata`` asks models that are not managed, too."""

    def get_queryset(self) -> models.QuerySet[Any]:
        """Return an empty queryset."""
        return super().get_queryset().none()


class Overview(models.Model):
    """Carry the permissions of the admin page: Django keeps none without a model."""

    objects: ClassVar[NoObjects] = NoObjects()

    class Meta:
        managed = False
        base_manager_name = "objects"  # what dumpdata --all asks
        default_permissions = ()
        permissions: ClassVar = [
            ("view_overview", "Can view the overview of Redis optimizer"),
            ("clear_local", "Can clear what processes keep of the caches"),
            ("clear_cache", "Can clear a cache in Redis"),
            ("flush_batches", "Can send buffered jobs at once"),
            ("prune_results", "Can prune results of jobs"),
            ("switch_parts", "Can switch parts of Redis optimizer off and on"),
        ]
        verbose_name = pgettext_lazy("model", "overview")
        verbose_name_plural = pgettext_lazy("model", "overview")

    def __str__(self) -> str:
        return str(self._meta.verbose_name)
