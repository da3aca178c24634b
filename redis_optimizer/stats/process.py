"""Which process this is: what an operator needs to find it, and no secret."""

import os
import platform
import re
import socket
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Final, Literal

from redis_optimizer import __version__
from redis_optimizer.core.forks import around_fork

__all__ = ["Kind", "facts", "set_kind"]

Kind = Literal["web", "worker", "worker child", "command", "other"]

_DJANGO: Final = ("manage.py", "django-admin", "django-admin.py")
_SERVES: Final = "runserver"
_NAME: Final = re.compile(r"[a-z]\w{0,60}")  # of a management command; anything else may be a value

_kind: Kind | None = None


def set_kind(kind: Kind) -> None:
    """Say what this process is for."""
    global _kind
    _kind = kind


def facts() -> dict[str, Any]:
    """Return who this process is, as plain data.

    Returns:
        id (of its own, unlike a pid that of one process only), pid, kind, host, started (seconds
        since the epoch), command (the program, and which management command; no other arguments),
        version and python.
    """
    if _pid != os.getpid():  # uWSGI forks without a word to Python
        _begin()
    return {
        "id": _id,
        "pid": os.getpid(),
        "kind": _kind or _guess(),
        "host": socket.gethostname(),
        "started": _started,
        "command": " ".join(_words()),
        "version": __version__,
        "python": platform.python_version(),
    }


def _guess() -> Kind:
    _, *name = _words()
    if name and name != [_SERVES]:
        return "command"
    # A server imports one of them to get the site; scripts and shells have no need to.
    if {"django.core.wsgi", "django.core.asgi"} & sys.modules.keys():
        return "web"
    return "other"


def _words() -> list[str]:
    # Not all of the arguments: a URL with a password may be among them.
    program, *arguments = sys.argv or [""]
    path = Path(program)
    name = path.parent.name if path.name == "__main__.py" else path.name
    words = ["python" if name in ("", "-", "-c", "-m") else name[:60]]
    is_django = name in _DJANGO or path.parent.name == "django"
    if is_django and arguments and _NAME.fullmatch(arguments[0]):
        words.append(arguments[0])
    return words


def _begin() -> None:
    global _id, _pid, _started
    _pid = os.getpid()
    _id = uuid.uuid4().hex
    _started = round(time.time(), 3)


_id = ""
_pid = 0
_started = 0.0
_begin()
around_fork(after_in_child=_begin)
