"""A page with five cached reads, on plain django-redis, on TieredCache, and without the reads."""
