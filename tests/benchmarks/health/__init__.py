"""Health endpoints beside each other: the same two things are checked, the cache and a database."""
