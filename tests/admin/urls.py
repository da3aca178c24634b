"""The page twice: in Django's own admin, and in one of the site's."""

from django.contrib import admin
from django.http import HttpResponse
from django.urls import path

from redis_optimizer.admin import OverviewAdmin
from redis_optimizer.models import Overview

other = admin.AdminSite(name="other")
other.register(Overview, OverviewAdmin)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("other/", other.urls),
    path("favicon.ico", lambda request: HttpResponse(status=204)),
]
