"""Settings of the example site: a dashboard that reads through the cache and sends jobs.

The environment chooses what differs between runs:

REDIS_URL               the server, and the database of the cache (default
                        redis://127.0.0.1:6379/0); jobs go to the next database
EXAMPLE_PLAIN           1: plain django-redis and plain Celery, to compare with
EXAMPLE_NAME            tells sites on one server apart: begins the cache's keys, and names the
                        queue of jobs (default "example")
EXAMPLE_DB              path of the sqlite database
EXAMPLE_DEBUG           1: Django's debug pages
EXAMPLE_ALLOWED_HOSTS   more host names, separated by commas

Where others reach the site: `example_project.production`.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import django

from example_project.addresses import jobs_url
from redis_optimizer.connections import cache_options, celery_settings

BASE_DIR = Path(__file__).resolve().parent.parent

# Public, because anybody can read it here: good for a demo on one's own machine and nothing else.
SECRET_KEY = "example-only-not-secret-a-real-site-reads-its-own-from-the-environment"  # noqa: S105

DEBUG = os.environ.get("EXAMPLE_DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
ALLOWED_HOSTS += filter(None, os.environ.get("EXAMPLE_ALLOWED_HOSTS", "").split(","))

PLAIN = os.environ.get("EXAMPLE_PLAIN") == "1"
NAME = os.environ.get("EXAMPLE_NAME") or "example"
REDIS_URL = os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379/0"
JOBS_URL = jobs_url(REDIS_URL)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_results",
    "redis_optimizer",
    "example_project.dashboard",
]

MIDDLEWARE = [
    "redis_optimizer.middleware.RedisOptimizerMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "example_project.dashboard.middleware.UserSettingsMiddleware",
    "example_project.dashboard.middleware.ServedByMiddleware",
]

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
ASGI_APPLICATION = "example_project.asgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "redis_optimizer.cache.TieredCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": NAME,
        "OPTIONS": cache_options(REDIS_URL),
    }
}
# CLIENT LIST and MONITOR then tell what the cache sends from what jobs do.
CACHES["default"]["OPTIONS"]["CONNECTION_POOL_KWARGS"]["client_name"] = f"{NAME}:cache"

# Results go to the database, where the admin shows the last few of each task.
globals().update(celery_settings(JOBS_URL, profile="metered", results="django-db"))
CELERY_TASK_DEFAULT_QUEUE = f"{NAME}-jobs"
REDIS_OPTIMIZER = {"NAMESPACE": NAME}

if PLAIN:
    CACHES["default"]["BACKEND"] = "django_redis.cache.RedisCache"
    globals().update(celery_settings(JOBS_URL, profile="default", results="django-db"))
    REDIS_OPTIMIZER["ENABLED"] = False

# Sessions stay in the database: a flush of the cache signs nobody out, and what is counted at the
# server is what the pages read through the cache.
SESSION_ENGINE = "django.contrib.sessions.backends.db"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("EXAMPLE_DB") or BASE_DIR / "example.sqlite3",
        "CONN_MAX_AGE": 60,
        "OPTIONS": {
            # Readers go on while somebody writes, and a writer waits for its turn from the start
            # of the transaction instead of failing in the middle of it.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
if find_spec("whitenoise"):  # the demo extra; runserver serves static files without it
    MIDDLEWARE.insert(2, "whitenoise.middleware.WhiteNoiseMiddleware")
    WHITENOISE_USE_FINDERS = True  # straight from the apps: nothing has to be collected first

if django.VERSION >= (6, 0):
    # Nothing inline anywhere, so the strictest useful policy holds.
    MIDDLEWARE.insert(2, "django.middleware.csp.ContentSecurityPolicyMiddleware")
    SECURE_CSP = {"default-src": ["'self'"], "frame-ancestors": ["'none'"]}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
