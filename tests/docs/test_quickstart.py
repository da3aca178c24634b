"""The quick start does what it says, in a project that is made by what the page shows."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from redis_optimizer.embedded import HOST, EmbeddedServer, free_port
from tests.docs.pages import Block, all_pages, read_blocks
from tests.servers import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
ADDRESS = "127.0.0.1:6379"  # of the server, on the page
MOST_LINES = 10
NUMBERS = ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"]
WAIT = 60  # seconds until a process must be ready, or have ended
# What somebody does in a browser: the site, the health endpoint, and the page in the admin.
VISIT = """
import json, time
from celery.result import AsyncResult
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from redis_optimizer.tasks.counts import counter

visitor = Client(HTTP_HOST="localhost")
answers = [visitor.get("/").json() for _ in range(2)]
ends = [AsyncResult(id).get(timeout=60) for answer in answers for id in answer["jobs"]]
deadline = time.monotonic() + 60
while not cache.stats()["hits"] and time.monotonic() < deadline:
    cache.get("total")
    time.sleep(0.01)
staff = Client(HTTP_HOST="localhost")
staff.force_login(User.objects.create_superuser("staff"))
print(json.dumps({
    "totals": [answer["total"] for answer in answers],
    "hits": cache.stats()["hits"],
    "ends": ends,
    "sent": counter.totals(),
    "admin": staff.get("/admin/").content.decode(),
    "page": staff.get("/admin/redis_optimizer/overview/").content.decode(),
    "health": visitor.get("/health/").json()["status"],
}))
"""

pytestmark = pytest.mark.slow


def settings() -> Block:
    """Return what is added to the settings."""
    blocks = read_blocks("quickstart.rst")
    [found] = [each for each in blocks if each.caption == "mysite/settings.py, at the end"]
    return found


def commands() -> list[str]:
    """Return the commands of manage.py that the page tells to run."""
    consoles = [each for each in read_blocks("quickstart.rst") if each.language == "console"]
    lines = [line for each in consoles for line in each.code.splitlines()]
    start = "$ python manage.py "
    return [line.removeprefix(start) for line in lines if line.startswith(start)]


class Project:
    """A fresh project with what the page shows in it.

    Args:
        directory: Of its files.
        port: Of its server.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        left_out = ("REDIS_", "DJANGO_", "CELERY_")
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(left_out)
        } | {"PYTHONPATH": str(ROOT)}
        self.run("-m", "django", "startproject", "mysite", ".")
        for each in read_blocks("quickstart.rst"):
            name, _, where = each.caption.partition(", ")
            if name:
                path = directory / name
                code = each.code.replace(ADDRESS, f"{HOST}:{port}")
                path.write_text(f"{path.read_text()}\n{code}" if where else code)

    def run(self, *arguments: str) -> str:
        """Run Python with arguments in the project; return what it printed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def worker(self, *arguments: str) -> Iterator[None]:
        """Run a worker beside the block, which begins when it takes jobs."""
        log = self.directory / "worker.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=self.directory,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(lambda: " ready." in log.read_text() or process.poll() is not None, WAIT)
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()
            process.wait(WAIT)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Do what the page says, and return what was seen."""
    migrate, _, check, _, worker = commands()
    with EmbeddedServer() as server:
        project = Project(tmp_path_factory.mktemp("quickstart"), server.port)
        project.run("manage.py", migrate, "--verbosity", "0")
        checked = project.run("manage.py", check, "--fail-level", "WARNING")
        with project.worker(*worker.split(), "-P", "solo"):
            told = project.run("manage.py", "shell", "--verbosity", "0", "-c", VISIT)
    return {"checked": checked, **json.loads(told)}


def test_the_page_tells_to_run_these_commands() -> None:
    assert commands()[:5] == [
        *("migrate", "createsuperuser", "check", "runserver"),
        "redis_optimizer_worker -l INFO",
    ]


def test_the_settings_are_few() -> None:
    lines = [line for line in settings().code.splitlines() if line.strip()]
    assert len(lines) <= MOST_LINES
    said = f"{NUMBERS[len(lines)]} lines of settings"
    assert said in all_pages()["docs/quickstart.rst"]
    assert said.lower() in " ".join(all_pages()["README.rst"].split())
    assert max(map(len, lines)) <= 100


def test_the_site_has_no_warnings(seen: dict[str, Any]) -> None:
    assert "no issues" in seen["checked"]


def test_a_view_reads_through_the_cache_and_later_from_the_process(seen: dict[str, Any]) -> None:
    assert seen["totals"] == [42, 42]
    assert seen["hits"] > 0


def test_the_jobs_leave_together_and_are_run(seen: dict[str, Any]) -> None:
    assert seen["ends"] == [f"sent to {user}" for user in range(10)] * 2
    assert seen["sent"]["sent"] == 20
    assert seen["sent"]["messages"] <= 4  # one or two for each request


def test_the_admin_has_the_page_and_shows_the_process(seen: dict[str, Any]) -> None:
    assert "/admin/redis_optimizer/overview/" in seen["admin"]
    assert "processes answered." in seen["page"] or "process answered." in seen["page"]


def test_the_health_endpoint_answers(seen: dict[str, Any]) -> None:
    assert seen["health"] == "ok"


def test_a_server_for_development_is_started_by_one_line() -> None:
    lines = [line for each in read_blocks("quickstart.rst") for line in each.code.splitlines()]
    [line] = [line for line in lines if line.startswith("$ python -ic ")]
    program = shlex.split(line)[-1].replace("port=6379", f"port={free_port()}")
    done = subprocess.run(
        [sys.executable, "-ic", program],
        cwd=ROOT,
        input="print(s.running)\n",
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert done.stdout.strip() == "True", done.stderr
