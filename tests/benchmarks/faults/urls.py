"""The URLs of the site: the admin's, and the endpoints."""

from django.urls import include, path

from tests.admin.urls import urlpatterns as admin

urlpatterns = [*admin, path("", include("redis_optimizer.urls"))]
