"""Errors by which a server says that it cannot answer now, or a pool that it was not asked."""

import re
from typing import Final

from redis.exceptions import MasterDownError, MaxConnectionsError, ResponseError

__all__ = ["is_busy", "is_lent_out"]

_BUSY: Final = re.compile(r"(Command # .* of pipeline caused error: )?BUSY ", re.DOTALL)
"""redis-py has no class for BUSY, which a server says once a script has run for 5 s."""

_LENT_OUT: Final = "No connection available."
"""Nor has it one for what a BlockingConnectionPool says that has waited in vain."""


def is_busy(error: BaseException) -> bool:
    """Tell whether a server is there but answers nobody: a script runs, or its master is away.

    Args:
        error: What a command raised.
    """
    return isinstance(error, MasterDownError) or (
        isinstance(error, ResponseError) and _BUSY.match(str(error)) is not None
    )


def is_lent_out(error: BaseException) -> bool:
    """Tell whether all connections of a pool were lent, which says nothing about the server.

    Args:
        error: What a command raised.
    """
    return isinstance(error, MaxConnectionsError) or str(error) == _LENT_OUT
