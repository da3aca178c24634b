"""Errors by which a server says that it cannot answer now."""

import re
from typing import Final

from redis.exceptions import MasterDownError, ResponseError

__all__ = ["is_busy"]

_BUSY: Final = re.compile(r"(Command # .* of pipeline caused error: )?BUSY ", re.DOTALL)
"""redis-py has no class for BUSY, which a server says once a script has run for 5 s."""


def is_busy(error: BaseException) -> bool:
    """Tell whether a server is there but answers nobody: a script runs, or its master is away.

    Args:
        error: What a command raised.
    """
    return isinstance(error, MasterDownError) or (
        isinstance(error, ResponseError) and _BUSY.match(str(error)) is not None
    )
