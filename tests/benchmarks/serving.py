"""A WSGI application under gunicorn, for the time of a block."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from redis_optimizer.management.benchmark.child import child_environment

HOST = "127.0.0.1"
STOP = 10.0  # seconds


@contextmanager
def serving(
    application: str, variables: Mapping[str, str], *, workers: int = 2, threads: int = 4
) -> Iterator[tuple[int, int]]:
    """Serve an application with keep-alive; yield the port and the process id of gunicorn.

    Args:
        application: as gunicorn takes it.
        variables: added to the environment.
        workers: processes.
        threads: of each.
    """
    with socket.create_server((HOST, 0), backlog=64) as listener:
        # What is accepted inherits it. Without, the second packet of an answer waits for the ACK of
        # the first, which a client on the same machine delays by 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port: int = listener.getsockname()[1]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", application),
                *("--bind", f"fd://{listener.fileno()}", "--worker-class", "gthread"),
                *("--workers", str(workers), "--threads", str(threads), "--keep-alive", "60"),
                *("--log-level", "warning", "--no-control-socket"),
            ],
            env=child_environment() | dict(variables),
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    try:
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
