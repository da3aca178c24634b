"""The site behind a web server, which knows nothing of Celery before the first request."""

import sys

import django
from django.conf import settings

settings.INSTALLED_APPS.remove("django_celery_results")
django.setup()

assert "celery" not in sys.modules


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        from tests.tasks.site.web import asgi as site

        await site(scope, receive, send)
