"""What the doctor finds about Celery: its workers, its broker, its results."""
