"""Celery jobs on fewer Redis commands."""
