"""Stop an embedded server once the process that started it is gone.

`embedded.py` runs this file as a script in a session of its own: `_watchdog.py DIRECTORY PARENT`.
The parent writes the pid to guard on a line of our stdin, and `0` before it reaps that pid: what it
wrote is read before anything is done, so a pid that was given to another process is never hit.
"""

import os
import select
import shutil
import signal
import sys
import time

POLL = 0.25  # seconds; the longest that the server outlives a parent that left forked children
# Seconds between SIGTERM and SIGKILL; a server stops in 0.1. Where pid 1 adopts no orphans, as in
# many containers, a stopped one still looks alive, and this is how long we wait for nothing.
GRACE = 0.5


def main(directory: str, parent: int) -> None:
    """Wait for the parent's end, then stop the guarded server and remove its directory."""
    guarded = watch(parent)
    if guarded:
        end(guarded)
    shutil.rmtree(directory, ignore_errors=True)


def watch(parent: int) -> int:
    """Return the pid to stop (0: none) when the parent has died.

    The pipe's end is seen at once. A forked child that lives on holds the pipe open, so our own
    parent's pid is compared too.
    """
    stdin = sys.stdin.fileno()
    os.set_blocking(stdin, False)
    told, gone = b"0\n", False
    while not gone:
        select.select([stdin], [], [], POLL)
        gone = os.getppid() != parent  # asked before reading: nothing written earlier is missed
        while (chunk := _read(stdin)) is not None:
            if not chunk:
                gone = True
                break
            told += chunk
    return int(told.split(b"\n")[-2])  # the last whole line


def _read(stdin: int) -> bytes | None:
    """Return what the pipe holds: b"" at its end, None when there is nothing now."""
    try:
        return os.read(stdin, 4096)
    except BlockingIOError:
        return None


def end(pid: int) -> None:
    """Terminate a process that is not our child, and kill it if that takes too long."""
    deadline = time.monotonic() + GRACE
    try:
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            time.sleep(0.02)
            os.kill(pid, 0)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
