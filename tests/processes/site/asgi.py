"""What ASGI servers run."""

from django.core.asgi import get_asgi_application

application = get_asgi_application()

from tests.tasks.site.app import app  # noqa: E402  # needs Django

app.loader.import_default_modules()
