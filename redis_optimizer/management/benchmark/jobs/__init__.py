"""Send the same jobs through plain Celery and through this package, and count what is sent."""
