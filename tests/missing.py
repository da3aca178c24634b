"""What a machine lacks that some tests need."""

import os
from typing import NoReturn

import pytest


def go_without(reason: str) -> NoReturn:
    """Skip the test; in CI it fails: there nothing may be left out unseen.

    Args:
        reason: What is missing, and how to get it.
    """
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
