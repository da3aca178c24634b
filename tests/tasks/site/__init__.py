"""A Django site with a Celery app, run in processes of its own by the tests of jobs."""
