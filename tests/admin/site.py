"""A site whose admin has the page."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.db import connection
from django.test import Client, override_settings

SETTINGS: dict[str, Any] = {
    "ALLOWED_HOSTS": ["*"],
    "INSTALLED_APPS": [
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "django.contrib.staticfiles",
        "redis_optimizer",
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "tests.admin.site.policy",
    ],
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
    "ROOT_URLCONF": "tests.admin.urls",
    "MEDIA_URL": "/media/",
    # Neither sessions nor messages need a table.
    "MESSAGE_STORAGE": "django.contrib.messages.storage.cookie.CookieStorage",
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "STATIC_URL": "/static/",
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
}
PAGE = "/admin/redis_optimizer/overview/"
DATA = f"{PAGE}data/"
ACTIONS = {
    "clear-local": "clear_local",
    "clear-cache": "clear_cache",
    "flush": "flush_batches",
    "prune": "prune_results",
    "switch-on": "switch_parts",
    "switch-off": "switch_parts",
}
"""The last part of each URL, and the permission that it takes."""

POLICY = "default-src 'self'"
if django.VERSION >= (6, 1):  # whose admin has nonces, too: nothing else may run then
    SETTINGS["MIDDLEWARE"][-1] = "django.middleware.csp.ContentSecurityPolicyMiddleware"
    SETTINGS["TEMPLATES"][0]["OPTIONS"]["context_processors"] += [
        "django.template.context_processors.csp"
    ]
    SETTINGS["SECURE_CSP"] = {
        "default-src": ["'self'"],
        "script-src": ["<CSP_NONCE_SENTINEL>"],
        "style-src": ["<CSP_NONCE_SENTINEL>"],
    }


def policy(get_response: Any) -> Any:
    """Let pages load nothing from elsewhere, and nothing inline."""

    def middleware(request: Any) -> Any:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return middleware


@contextmanager
def in_force() -> Iterator[None]:
    """Put the settings in force, and make the one table that the tests' own have no use for.

    It takes long to load the apps: once for many tests.
    """
    with override_settings(**SETTINGS):
        from django.contrib.admin.models import LogEntry

        with connection.schema_editor() as editor:
            editor.create_model(LogEntry)
        try:
            yield
        finally:
            with connection.schema_editor() as editor:
                editor.delete_model(LogEntry)


def log_in_as(*permissions: str, is_staff: bool = True, **options: Any) -> Client:
    """Make a user who may do so much, and return a client that is logged in."""
    from django.contrib.auth.models import Permission, User

    user = User.objects.create_user("ann", password="secret", is_staff=is_staff)
    user.user_permissions.set(
        Permission.objects.get(content_type__app_label="redis_optimizer", codename=name)
        for name in permissions
    )
    client = Client(**options)
    client.force_login(user)
    return client
