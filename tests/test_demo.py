"""`manage.py demo` starts everything, says what goes wrong, and leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.core.management import CommandError, call_command

from example_project.addresses import jobs_url
from example_project.dashboard.management.commands.demo import Command
from example_project.demo import ground
from redis_optimizer.embedded import EmbeddedServer
from tests.demo import STOP, Demo, needs_demo, run_demo, running_demo
from tests.servers import wait_until

pytestmark = [needs_demo, pytest.mark.slow]


def parent_of(process: int) -> int:
    """Return the id of a process's parent."""
    return int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(process)]))


@pytest.fixture
def hangups() -> Iterator[None]:
    """Have SIGHUP heard: what the tests ignore, as under nohup, the demo would ignore, too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def end_in_order(demo: Demo, number: signal.Signals) -> None:
    """Send a signal, and expect the demo to end as it should."""
    assert demo.end(number) == 0
    said = demo.log.read_text()
    assert said.endswith("Stopped.\n")
    assert "Traceback" not in said


# A start takes seconds, so the first two signals are those of a demo that is started twice.
def test_ctrl_c_and_sigterm_stop_all_of_it_and_a_directory_keeps_what_was_changed(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "kept"
    with running_demo(tmp_path / "files", "--keep", str(kept)) as demo:
        client = demo.client("operator1")
        client.get("/settings/")
        client.post("/settings/", theme="dark", timezone="Asia/Tokyo")
        end_in_order(demo, signal.SIGINT)
        demo.wait_gone()
    with running_demo(tmp_path / "files", "--keep", str(kept)) as demo:
        page = demo.client("operator1").get("/settings/").text
        assert '<option value="Asia/Tokyo" selected>' in page
        assert len(demo.client().get("/").text.split('href="/organisations/')) == 21
        end_in_order(demo, signal.SIGTERM)
        demo.wait_gone()


def test_all_of_it_ends_when_the_command_is_killed(tmp_path: Path) -> None:
    with running_demo(tmp_path / "files") as demo:
        assert demo.end(signal.SIGKILL) == -signal.SIGKILL
        demo.wait_gone()


def test_it_says_that_the_site_ended(tmp_path: Path) -> None:
    with running_demo(tmp_path / "files", "--workers", "1") as demo:
        worker = demo.client().get("/").process
        os.kill(parent_of(worker), signal.SIGKILL)
        assert demo.process.wait(STOP) == 1
        assert "The site ended unexpectedly (exit status -9)." in demo.log.read_text()


def test_it_says_that_the_worker_ended(tmp_path: Path) -> None:
    with running_demo(tmp_path / "files", "--workers", "1") as demo:
        os.kill(demo.facts["worker"], signal.SIGKILL)
        assert demo.process.wait(STOP) == 1
        assert "The worker ended unexpectedly (exit status -9)." in demo.log.read_text()
        demo.wait_gone()


def test_it_says_that_the_server_ended(tmp_path: Path) -> None:
    with running_demo(tmp_path / "files", "--workers", "1") as demo:
        with redis.Redis("127.0.0.1", demo.redis_port) as client:
            os.kill(client.info("server")["process_id"], signal.SIGKILL)
        assert demo.process.wait(STOP) == 1
        assert "The Redis server ended unexpectedly." in demo.log.read_text()
        demo.wait_gone()


@pytest.mark.usefixtures("hangups")
def test_it_uses_the_server_of_redis_url_and_sighup_leaves_it_running(tmp_path: Path) -> None:
    with EmbeddedServer() as own, running_demo(tmp_path / "files", REDIS_URL=own.url) as demo:
        assert demo.facts["redis_url"] == own.url
        client = demo.client()

        def ready() -> tuple[int, str]:
            reply = client.get("/ready/")
            return reply.status, json.loads(reply.text)["status"]

        assert ready() == (200, "ok")
        own.kill()  # while the server is gone the site is not ready
        wait_until(lambda: ready() == (503, "failing"), STOP)
        own.restart()
        wait_until(lambda: ready() == (200, "ok"), STOP)
        client.get("/")
        client.get("/organisations/1/")
        with redis.Redis.from_url(own.url) as admin:
            assert len(admin.keys("example-*:1:organisations")) == 1
            assert demo.end(signal.SIGHUP) == 0
            # Celery may have shown the error by which it knew that the server was gone.
            assert demo.log.read_text().endswith("Stopped.\n")
            assert admin.keys("*example-*") == []
        with redis.Redis.from_url(jobs_url(own.url)) as admin:
            assert admin.keys("*example-*") == []


def test_a_port_that_is_taken_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_demo("--port", str(port))
    assert ended.returncode == 1
    assert f"Port {port} cannot be used (Address already in use)" in ended.stderr
    assert "--port" in ended.stderr
    assert ended.stdout == ""


def test_a_server_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(ground, "make_database", None)  # it is not come to
    with pytest.raises(CommandError, match=r"127\.0\.0\.1:1"):
        call_command(Command(), "--port", "0")


def test_a_missing_extra_is_said(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['gunicorn'] = None\n")
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent)])
    ended = run_demo("--port", "0", PYTHONPATH=paths)
    assert ended.returncode == 1
    assert "The demo needs gunicorn: pip install 'redis-optimizer[demo]'" in ended.stderr


@pytest.mark.parametrize("option", ["--workers", "--threads", "--seconds", "--rate"])
def test_numbers_must_be_above_0(option: str) -> None:
    parser = Command().create_parser("manage.py", "demo")
    with pytest.raises(CommandError, match=f"{option}: 0 is not a number above 0"):
        parser.parse_args([option, "0"])


def test_smoke_saves_commands_shows_every_change_and_loses_no_job() -> None:
    # So many turns however busy the machine is: with a few, what is read first weighs too much.
    ended = run_demo("--smoke", "--json", "--seconds", "1", "--rate", "240")
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    assert figures["faults"] == []
    assert figures["cache_saving_percent"] > 50
    assert figures["job_saving_percent"] > 50
    assert figures["plain"]["requests_by_kind"] == figures["optimized"]["requests_by_kind"]
    for run in (figures["plain"], figures["optimized"]):
        assert run["changes"] > 0
        assert run["failures"] == run["stale_own_reads"] == run["changes_missed"] == 0
        assert run["changes_followed"] == 24
        assert run["views_counted"] == run["views"] > 0
        assert run["jobs"] > run["views"]
        assert run["integrations_not_synced"] == run["messages_left"] == 0
        assert run["worker_exit_status"] == 0
        counts = run["cache_commands"], run["job_commands"]
        assert run["commands"] == sum(sum(each.values()) for each in counts)
        assert run["requests"] == sum(run["requests_by_kind"].values())


def test_smoke_that_is_interrupted_has_not_succeeded(tmp_path: Path) -> None:
    with running_demo(tmp_path / "files", "--smoke", "--workers", "1", ready=False) as demo:
        wait_until(lambda: "Traffic" in demo.log.read_text())
        assert demo.end(signal.SIGINT) == 128 + signal.SIGINT
        assert not any(demo.temporary.iterdir())
        assert "Traceback" not in demo.log.read_text()
