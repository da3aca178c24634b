"""Settings of the example site where others reach it: behind a proxy that speaks HTTPS.

``DJANGO_SETTINGS_MODULE=example_project.production``, and in the environment, besides what
`example_project.settings` reads:

EXAMPLE_SECRET_KEY      long and random, and known to nobody
EXAMPLE_ALLOWED_HOSTS   the host names of the site, separated by commas
"""

import os

from django.core.exceptions import ImproperlyConfigured

from example_project.settings import *  # noqa: F403


def require(name: str, example: str) -> str:
    """Return what the environment says.

    Raises:
        ImproperlyConfigured: it says nothing.
    """
    value = os.environ.get(name)
    if not value:
        raise ImproperlyConfigured(f"Set {name} in the environment, to {example}.")
    return value


SECRET_KEY = require("EXAMPLE_SECRET_KEY", "50 random characters or more")
ALLOWED_HOSTS = require("EXAMPLE_ALLOWED_HOSTS", "the host names of the site").split(",")
DEBUG = False

# The proxy must set this header itself, and take it from whoever else sends it.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = True
SECURE_REDIRECT_EXEMPT = [r"^ready/$"]  # balancers ask without HTTPS; live/ is answered before
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
