"""Queues beside each other: the same job, one worker of two processes."""
