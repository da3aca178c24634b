"""A site of one view that sends one job: settings, URLs and the WSGI application in one."""

import os

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from redis_optimizer.management.benchmark.jobs import settings as jobs

os.environ["DJANGO_SETTINGS_MODULE"] = __name__

for name in dir(jobs):
    if name.isupper():
        globals()[name] = getattr(jobs, name)
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = __name__
MIDDLEWARE = [] if jobs.ORDER.plain else ["redis_optimizer.middleware.RedisOptimizerMiddleware"]


def count(request: HttpRequest, number: int) -> HttpResponse:
    """Have one view counted."""
    from redis_optimizer.management.benchmark.jobs.app import app

    app.tasks["usage"].delay(number)
    return HttpResponse("Counted.")


urlpatterns = [path("<int:number>/", count)]


def make_application():
    """Return what gunicorn serves; every process loads the tasks."""
    application = get_wsgi_application()
    from redis_optimizer.management.benchmark.jobs.app import app

    app.loader.import_default_modules()
    return application
