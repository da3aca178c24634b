"""The processes of a soak."""

from __future__ import annotations

import os
from pathlib import Path

from tests.servers import wait_until

from .ground import Process

GIVES_UP_ONCE = """
import os, sys
print("w0@soak ready.")
try:
    os.mkdir(sys.argv[1])
    print("Unrecoverable error: server:ResponseError")
except FileExistsError:
    pass
"""


def test_a_worker_that_has_given_up_takes_no_jobs_until_it_has_begun_anew(tmp_path: Path) -> None:
    command = ["-c", GIVES_UP_ONCE, str(tmp_path / "given-up")]
    worker = Process("worker", command, os.environ, tmp_path)
    wait_until(lambda: worker.has_ended)
    assert worker.has_said(" ready.")
    assert not worker.takes_jobs
    worker.start()
    wait_until(lambda: worker.has_ended)
    assert worker.takes_jobs
