"""Replay cache traffic over several processes and report what the server counted."""
