"""The other end of `Child`: answer what stdin asks, one JSON object a line."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any


def answer(handlers: Mapping[str, Callable[..., Any]]) -> None:
    """Answer until stdin ends; what a handler raises is told, and the next is awaited.

    Args:
        handlers: by the name of what is asked; they take the rest of the object by name.
    """
    # What libraries print must not stand between the answers.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            reply = {"result": handlers[asked.pop("do")](**asked)}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)
    os._exit(0)  # threads of a library that wait in vain are not waited for
