"""What the processes of this site counted. Counting sends nothing and touches no file."""

from redis_optimizer.stats.gather import agather, gather
from redis_optimizer.stats.gathered import Gathered

__all__ = ["Gathered", "agather", "gather"]
