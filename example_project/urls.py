"""URLs of the example site."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.dashboard.urls")),
    path("", include("redis_optimizer.urls")),  # live/, ready/ and health/
    path("admin/", admin.site.urls),
]
