"""Errors by which a server says that it cannot answer now."""

from redis.exceptions import MasterDownError, ResponseError

__all__ = ["is_busy"]


def is_busy(error: BaseException) -> bool:
    """Tell whether a server is there but answers nobody: a script runs, or its master is away.

    Args:
        error: What a command raised.
    """
    # redis-py has no class for BUSY, which a server says once a script has run for 5 s.
    return isinstance(error, MasterDownError) or (
        isinstance(error, ResponseError) and str(error).startswith("BUSY ")
    )
