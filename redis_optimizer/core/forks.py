"""What is to be done around a fork, whether Python makes it or a server that is written in C."""

import os
from collections.abc import Callable

__all__ = ["around_fork", "begin_child"]

_in_child: list[Callable[[], object]] = []


def around_fork(
    *,
    before: Callable[[], object] | None = None,
    after_in_parent: Callable[[], object] | None = None,
    after_in_child: Callable[[], object],
) -> None:
    """Have functions called around each fork, as `os.register_at_fork` does.

    Args:
        before: Called in the parent first, those registered last before the others.
        after_in_parent: Called in the parent afterwards.
        after_in_child: Called in the child. It must do without `before`, and may be called twice.
    """
    _in_child.append(after_in_child)
    if hasattr(os, "register_at_fork"):  # not on Windows
        given = {"before": before, "after_in_parent": after_in_parent}
        os.register_at_fork(
            after_in_child=after_in_child,
            **{name: function for name, function in given.items() if function is not None},
        )


def begin_child() -> None:
    """Do in a child what Python does after a fork of its own: it was forked in C."""
    for function in _in_child:
        function()
