"""The embedded server stops with the process that started it, however that process dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from redis_optimizer import _watchdog
from redis_optimizer._ports import is_free
from tests.servers import wait_until

# A job that a script starts in the background, or under nohup, inherits signals ignored.
START = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from redis_optimizer.embedded import EmbeddedServer
server = EmbeddedServer().start()
print(server.port, server.directory, flush=True)
"""
WAIT = "sys.stdin.read()\n"
FORK = """
child = os.fork()
if child == 0:
    sys.stdin.read()
    os._exit(0)
print(child, flush=True)
signal.pause()
"""
INTERRUPTED = """
try:
    print("ready", flush=True)
    while True:
        time.sleep(0.1)
except KeyboardInterrupt:
    print(server.running, server._answers(), flush=True)
    server.stop()
"""


class Owner:
    """A process that started a server."""

    def __init__(self, program: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", START + program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        port, directory = self.read().split()
        self.port, self.directory = int(port), Path(directory)

    def read(self) -> str:
        return self.process.stdout.readline().strip()

    def left_nothing(self) -> bool:
        return is_free(self.port) and not self.directory.exists()


@contextmanager
def owner(program: str) -> Iterator[Owner]:
    started = Owner(program)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_a_killed_owner_leaves_nothing(number: signal.Signals) -> None:
    with owner(WAIT) as started:
        assert not started.left_nothing()
        started.process.send_signal(number)
        wait_until(started.left_nothing)


def test_an_owner_that_ends_without_stopping_leaves_nothing() -> None:
    with owner(WAIT) as started:
        started.process.communicate()
        assert started.process.returncode == 0
        wait_until(started.left_nothing)


def test_a_forked_child_that_lives_on_does_not_keep_the_server() -> None:
    with owner(FORK) as started:
        child = int(started.read())
        started.process.kill()
        wait_until(started.left_nothing)
        os.kill(child, 0)


def test_an_owner_killed_after_its_server_leaves_no_directory() -> None:
    with owner("server.kill()\nprint('killed', flush=True)\n" + WAIT) as started:
        assert started.read() == "killed"
        assert started.directory.exists()
        started.process.kill()
        wait_until(started.left_nothing)


def test_ctrl_c_reaches_the_owner_and_not_its_server() -> None:
    with owner(INTERRUPTED) as started:
        assert started.read() == "ready"
        os.killpg(started.process.pid, signal.SIGINT)
        assert started.read() == "True True"
        started.process.communicate()
        assert started.left_nothing()


class TestWatchdog:
    @pytest.fixture
    def bystander(self) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            yield process
            process.kill()

    @pytest.fixture
    def watch(self, tmp_path: Path) -> Callable[..., AbstractContextManager[None]]:
        """Run the script until the end of the block, told what the block's first line says."""

        @contextmanager
        def watch(*pids: int) -> Iterator[None]:
            script = [sys.executable, "-I", "-S", _watchdog.__file__]
            command = [*script, str(tmp_path / "data"), str(os.getpid())]
            (tmp_path / "data").mkdir()
            with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
                process.stdin.write(b"".join(b"%d\n" % pid for pid in pids))
                process.stdin.close()
                yield
            assert process.returncode == 0
            assert not (tmp_path / "data").exists()

        return watch

    def test_it_terminates_the_guarded_process(self, watch, bystander) -> None:
        with watch(bystander.pid):
            assert bystander.wait(60) == -signal.SIGTERM

    def test_it_kills_a_process_that_does_not_terminate(self, watch, bystander) -> None:
        bystander.send_signal(signal.SIGSTOP)
        with watch(bystander.pid):
            assert bystander.wait(60) == -signal.SIGKILL

    def test_it_spares_a_process_that_it_guards_no_more(self, watch, bystander) -> None:
        with watch(bystander.pid, 0):
            pass
        assert bystander.poll() is None

    def test_it_accepts_that_the_process_is_gone(self, watch, bystander) -> None:
        bystander.kill()
        bystander.wait()
        with watch(bystander.pid):
            pass
