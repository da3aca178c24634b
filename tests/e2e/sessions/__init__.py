"""A small site with log-in whose sessions are in a cache: `settings` and `urls`."""
