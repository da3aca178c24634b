"""The endpoints: included at "", they are /live/, /ready/ and /health/."""

from typing import Final

from django.urls import path

from redis_optimizer import views

__all__ = ["app_name", "urlpatterns"]

app_name: Final = "redis_optimizer"

urlpatterns: Final = [
    path("live/", views.live, name="live"),
    path("ready/", views.ready, name="ready"),
    path("health/", views.health, name="health"),
]
