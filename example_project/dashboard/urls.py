"""URLs of the dashboard."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from . import api, views
from .forms import LogInForm

urlpatterns = [
    path("", views.home, name="home"),
    path("organisations/<int:pk>/", views.organisation, name="organisation"),
    path("integrations/<int:pk>/state/", views.change_state, name="change-state"),
    path("integrations/<int:pk>/sync/", views.sync, name="sync"),
    path("settings/", views.edit_settings, name="settings"),
    path("log-in/", LoginView.as_view(authentication_form=LogInForm), name="login"),
    path("log-out/", LogoutView.as_view(), name="logout"),
    path("api/integrations/status", api.integrations_status, name="api-status"),
    path("api/health", api.system_health, name="api-health"),
]
