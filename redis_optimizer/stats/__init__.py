"""What the processes of this site counted. Counting sends nothing and touches no file."""

from redis_optimizer.stats.gather import Gathered, gather

__all__ = ["Gathered", "gather"]
