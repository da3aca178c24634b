"""What WSGI servers run. With ``SITE_WARM``, what is loaded before a fork has used all of it."""

import os

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from tests.tasks.site.app import app  # noqa: E402  # needs Django

app.loader.import_default_modules()

if label := os.environ.get("SITE_WARM"):
    from django.core.cache import cache

    from tests.processes.site.jobs import KEY, buffered

    cache.get(KEY)
    assert cache.tier.wait_ready(20)
    cache.get(KEY)
    buffered.delay(label)
