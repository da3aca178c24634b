"""A site whose admin has the page."""

from typing import Any

SETTINGS: dict[str, Any] = {
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


def policy(get_response: Any) -> Any:
    """Let pages load nothing from elsewhere, and nothing inline."""

    def middleware(request: Any) -> Any:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return middleware
