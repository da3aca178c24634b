"""Caches beside each other, each in a process, an environment and on a server of its own."""
