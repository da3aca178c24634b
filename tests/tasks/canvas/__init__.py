"""One table of cases, run through plain Celery and through ours, and compared."""
