"""A small site that every server and pool can run."""
