"""What the admin page is shown under, and who may do what there. There is no table."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

__all__ = ["Overview"]


class Overview(models.Model):
    """Carry the permissions of the admin page: Django has them with models alone."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions: ClassVar = [
            ("view_overview", _("Can view the overview of Redis optimizer")),
            ("clear_local", _("Can clear what processes keep of the caches")),
            ("clear_cache", _("Can clear a cache in Redis")),
            ("flush_batches", _("Can send buffered jobs at once")),
            ("prune_results", _("Can prune results of jobs")),
            ("switch_parts", _("Can switch parts of Redis optimizer off and on")),
        ]
        verbose_name = _("overview")
        verbose_name_plural = _("overview")

    def __str__(self) -> str:
        return str(self._meta.verbose_name)
