"""The site behind a web server: each request sends a job with its path as the label."""

import django

django.setup()

from tests.tasks.site.app import app  # noqa: E402  # needs Django

app.loader.import_default_modules()

from tests.tasks.site.exits import buffered  # noqa: E402


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        buffered.delay(scope["path"].strip("/"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"sent"})
