"""What this package saves, by the count of a real server: its caches, and its jobs."""
