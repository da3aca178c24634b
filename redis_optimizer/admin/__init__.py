"""The page "Redis optimizer" of Django's admin, which finds it by itself."""

from django.contrib import admin

from redis_optimizer.admin.page import OverviewAdmin
from redis_optimizer.models import Overview

__all__ = ["OverviewAdmin"]

admin.site.register(Overview, OverviewAdmin)
