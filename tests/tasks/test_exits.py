"""A process that ends sends what it holds, in whatever way it ends; servers: tests/processes."""

import os
import signal
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from redis_optimizer.embedded import EmbeddedServer, free_port
from tests.servers import wait_until
from tests.tasks.processes import ROOT, STOP, Site
from tests.tasks.queues import arguments, envelopes, messages

TASKS = ["tests.tasks.site.exits"]
HEAD = """
import faulthandler, multiprocessing, os, signal, sys, threading, time
faulthandler.enable()
import django
django.setup()
from tests.tasks.site.app import app
app.loader.import_default_modules()
from tests.tasks.site.exits import buffered
def send(*labels):
    for label in labels:
        buffered.delay(label)
def ready():
    print("ready", flush=True)
def wait():
    # Not signal.pause(): it does not return for a signal that has come just before it.
    while True:
        time.sleep(0.05)
"""


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site(tasks=TASKS, settings={"REDIS_OPTIMIZER": {"ENVELOPES": True}})


def labels(client: redis.Redis) -> list[str]:
    """Return the labels of all jobs that are in the queue, sorted."""
    singly = [arguments(each)[0][0] for each in messages(client)]
    together = [job.body.split('"')[1] for jobs in envelopes(client) for job in jobs]  # type: ignore[arg-type]
    return sorted(singly + together)


def start(site: Site, code: str) -> "subprocess.Popen[str]":
    """Start a producer and wait until it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + textwrap.dedent(code)],
        cwd=ROOT,
        env=site.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: "subprocess.Popen[str]", number: signal.Signals) -> int:
    """Send a signal and return the exit status."""
    process.send_signal(number)
    try:
        return process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # it says where it hangs
        process.wait(STOP)
        raise
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.mark.parametrize(
    ("last", "status"),
    [("", 0), ("sys.exit(3)", 3), ("raise LookupError", 1), ("os.kill(os.getpid(), 2)", 130)],
)
def test_the_end_of_a_script(site: Site, admin: redis.Redis, last: str, status: int) -> None:
    done = site.run("-c", f"{HEAD}\nsend('a', 'b', 'c')\n{last}", check=False)
    assert done.returncode in (status, -signal.SIGINT)
    assert labels(admin) == ["a", "b", "c"]


def test_a_management_command(site: Site, admin: redis.Redis) -> None:
    code = "from tests.tasks.site.exits import buffered; buffered.delay('a'); buffered.delay('b')"
    site.run("-m", "django", "shell", "-c", "import tests.tasks.site.app; " + code)
    assert labels(admin) == ["a", "b"]


def test_sigterm_that_nobody_handles(site: Site, admin: redis.Redis) -> None:
    process = start(site, "send('a', 'b'); ready(); wait()")
    assert labels(admin) == []
    assert end(process, signal.SIGTERM) == 143
    assert labels(admin) == ["a", "b"]


def test_sigterm_when_only_threads_have_sent(site: Site, admin: redis.Redis) -> None:
    process = start(
        site,
        """
        thread = threading.Thread(target=send, args=("a", "b"))
        thread.start(); thread.join()
        ready(); wait()
        """,
    )
    assert end(process, signal.SIGTERM) == 143
    assert labels(admin) == ["a", "b"]


def test_sigterm_kills_as_ever_when_nothing_waits(site: Site, admin: redis.Redis) -> None:
    process = start(site, "ready(); wait()")
    assert end(process, signal.SIGTERM) == -signal.SIGTERM


def test_a_handler_of_the_site_is_left_alone(site: Site, admin: redis.Redis) -> None:
    process = start(
        site,
        """
        signal.signal(signal.SIGTERM, lambda *args: sys.exit(7))
        send("a"); ready(); wait()
        """,
    )
    assert end(process, signal.SIGTERM) == 7
    assert labels(admin) == ["a"]


def test_sigterm_in_the_middle_of_a_block(site: Site, admin: redis.Redis) -> None:
    process = start(
        site,
        """
        from redis_optimizer.tasks import batch
        with batch():
            send("a")
            app.send_task(buffered.name, ("b",))
            ready(); wait()
        """,
    )
    assert end(process, signal.SIGTERM) == 143
    assert labels(admin) == ["a", "b"]


def test_a_thread_that_dies(site: Site, admin: redis.Redis) -> None:
    code = """
def work():
    send("a", "b")
    raise LookupError
thread = threading.Thread(target=work)
thread.start(); thread.join()
"""
    site.run("-c", HEAD + code)
    assert labels(admin) == ["a", "b"]


def test_a_fork_sends_its_own_jobs_and_no_others(site: Site, admin: redis.Redis) -> None:
    code = """
send("a", "b")
if child := os.fork():
    os.waitpid(child, 0)
    send("c")
else:
    send("d", "e")
"""
    site.run("-c", HEAD + code)
    assert labels(admin) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing(site: Site, admin: redis.Redis, method: str) -> None:
    code = f"""
send("a")
context = multiprocessing.get_context({method!r})
if __name__ == "__main__":
    from tests.tasks.site.exits import send_some
    process = context.Process(target=send_some, args=(["b", "c"],))
    process.start(); process.join()
    with context.Pool(2) as pool:
        pool.map(send_some, [["d"], ["e"]])
        pool.close(); pool.join()
"""
    path = site.directory / "script.py"
    path.write_text(HEAD + code if method == "fork" else _guarded(code))
    site.run(str(path))
    assert labels(admin) == ["a", "b", "c", "d", "e"]


def _guarded(code: str) -> str:
    # A spawned child runs the script again.
    lines = (HEAD + code).splitlines()
    return "if __name__ == '__main__':\n" + textwrap.indent("\n".join(lines), "    ")


def test_a_broker_that_is_away_at_the_end(site: Site, server: EmbeddedServer) -> None:
    site.port = free_port()
    code = """
import logging
logging.basicConfig()
from redis_optimizer.signals import jobs_lost
def show(ids, tasks, **kwargs):
    print(len(ids), set(tasks))
jobs_lost.connect(show)
send("a", "b")
"""
    done = site.run("-c", HEAD + code)
    assert done.stdout == "2 {'tests.tasks.site.exits.buffered'}\n"
    assert (
        done.stderr.count("CRITICAL:redis_optimizer.tasks:Job tests.tasks.site.exits.buffered[")
        == 2
    )


@pytest.fixture
def serve(site: Site, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Return a function that starts a web server, asks it for labels and ends it by SIGTERM."""
    processes: list[subprocess.Popen[bytes]] = []

    def serve(command: list[str], asked: list[str]) -> int:
        port = free_port()
        log = (tmp_path / "server.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", *(part.replace("PORT", str(port)) for part in command)],
            cwd=ROOT,
            env=site.environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        processes.append(process)
        log.close()

        def ask(label: str) -> bool:
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/{label}", timeout=20
                ) as reply:
                    return bool(reply.status == 200)
            except OSError:
                assert process.poll() is None, (tmp_path / "server.log").read_text()
                return False

        for label in asked:
            wait_until(lambda label=label: ask(label))
        process.send_signal(signal.SIGTERM)
        return process.wait(STOP)

    yield serve
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_uvicorn(serve: Callable[..., int], admin: redis.Redis) -> None:
    command = ["uvicorn", "--port", "PORT", "tests.tasks.site.web:asgi"]
    serve(command, ["a", "b", "c"])
    assert set(labels(admin)) == {"a", "b", "c"}


def test_uvicorn_without_celery_when_the_site_is_loaded(
    serve: Callable[..., int], admin: redis.Redis
) -> None:
    """The first job is then the first occasion to learn of the server's signal."""
    serve(["uvicorn", "--port", "PORT", "tests.tasks.site.late:asgi"], ["a", "b"])
    assert set(labels(admin)) == {"a", "b"}


@pytest.mark.parametrize("how", ["return", "raise"])
def test_a_child_of_a_worker_that_is_replaced(site: Site, admin: redis.Redis, how: str) -> None:
    with site.worker("-c", "1", "--max-tasks-per-child", "1", "-Q", "sending"):
        _send_from_child(site, ["a", "b"], how)
        _send_from_child(site, ["c"], how)
        wait_until(lambda: labels(admin) == ["a", "b", "c"])


def test_a_child_of_a_worker_that_stops(site: Site, admin: redis.Redis) -> None:
    with site.worker("-c", "1", "-Q", "sending") as worker:
        _send_from_child(site, ["a", "b"], "return")
        worker.wait_log("succeeded")
        assert labels(admin) == []
        assert worker.stop() == 0
    assert labels(admin) == ["a", "b"]


def test_a_child_of_a_worker_that_is_terminated(site: Site, admin: redis.Redis) -> None:
    with site.worker("-c", "1", "-Q", "sending"):
        _send_from_child(site, ["a", "b"], "term")
        wait_until(lambda: labels(admin) == ["a", "b"])


def _send_from_child(site: Site, given: list[str], how: str) -> Any:
    code = "from tests.tasks.site.exits import sends\n"
    return site.produce(f"{code}sends.apply_async(({given!r}, {how!r}), queue='sending')")
