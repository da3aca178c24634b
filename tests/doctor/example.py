"""The example site with a database of their own for jobs, as the doctor advises."""

import os

from example_project.settings import *  # noqa: F403
from redis_optimizer.connections import celery_settings

globals().update(celery_settings(os.environ["JOBS_URL"], profile="metered", results="django-db"))
