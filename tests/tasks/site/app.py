"""The Celery app of the site: ``celery -A tests.tasks.site.app worker``.

``SITE_TASKS`` names the modules of tasks, separated by commas, that are loaded.
"""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.tasks.site.settings")

app = Celery("site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.imports = tuple(filter(None, os.environ.get("SITE_TASKS", "").split(",")))
