"""URLs of the example site."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.dashboard.urls")),
    path("admin/", admin.site.urls),
]
