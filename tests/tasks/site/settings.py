"""Settings of the site. ``SITE_SETTINGS``, a JSON object, adds to them and overrides them.

In it, "PROFILE" is not a setting but the profile of `celery_settings`.
"""

import json
import os

SECRET_KEY = "only-for-tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django_celery_results",
    "redis_optimizer",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SITE_DATABASE", ":memory:"),
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }
}

CELERY_BROKER_URL = os.environ.get("SITE_BROKER_URL", "redis://127.0.0.1:6379/0")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

given = json.loads(os.environ.get("SITE_SETTINGS", "{}"))
if profile := given.pop("PROFILE", None):
    from redis_optimizer.connections import celery_settings

    globals().update(celery_settings(CELERY_BROKER_URL, profile))
globals().update(given)
if os.environ.get("SITE_PLAIN") == "1":  # a process of an older deployment, which knows nothing
    INSTALLED_APPS.remove("redis_optimizer")
