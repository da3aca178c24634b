"""Settings as docs/sessions.rst tells a site to make them."""

import os

from tests.cache.caches import QUIET

SECRET_KEY = "only-for-tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.e2e.sessions.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "redis_optimizer",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SITE_DATABASE"]}
}
CACHES = {
    "default": {"BACKEND": "redis_optimizer.cache.LocalCache"},
    "sessions": {
        "BACKEND": "redis_optimizer.cache.TieredCache",
        "LOCATION": os.environ["SITE_REDIS"],
        "KEY_PREFIX": "sessions",
        "OPTIONS": {"L1": QUIET},
    },
}
SESSION_ENGINE = os.environ["SITE_SESSIONS"]
SESSION_CACHE_ALIAS = "sessions"
