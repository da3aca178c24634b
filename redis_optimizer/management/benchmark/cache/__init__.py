"""Replay cache traffic over several processes, with and without L1."""
