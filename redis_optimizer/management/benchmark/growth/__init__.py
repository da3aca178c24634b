"""How costs grow: with processes, keys and jobs."""
