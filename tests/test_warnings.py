"""Nothing warns: no call is deprecated in Python, Django, Celery or redis-py.

What tests do in their own process fails by such a warning anyway, see setup.cfg.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from redis_optimizer.embedded import EmbeddedServer
from tests.demo import ROOT, clean_environment
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.site import runs

# Of what is not closed Python warns wherever it happens to be, not where that was opened.
ALL = "always,ignore::ResourceWarning"
OURS = re.compile(r"^.*(?:redis_optimizer|example_project)/\S*:\d+: \w*Warning.*$", re.M)

IMPORT_ALL = """
import importlib, pkgutil
import django; django.setup()
import redis_optimizer
PROCESSES = ("jobs.settings", "jobs.tasks")  # of the benchmark: they have an environment of theirs
for module in pkgutil.walk_packages(redis_optimizer.__path__, "redis_optimizer."):
    if not module.name.endswith(PROCESSES):
        importlib.import_module(module.name)
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("check")
from django.test import Client
from django.contrib.auth.models import User
client = Client(headers={"host": "localhost"})
client.force_login(User.objects.create_superuser("ann"))
for path in ("/", "/health/", "/ready/", "/live/", "/admin/redis_optimizer/overview/"):
    assert client.get(path).status_code == 200, path
"""


def run(*arguments: str, **environment: str) -> str:
    """Run Python to its end, and return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=clean_environment(PYTHONWARNINGS=ALL, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_warning_would_be_seen(tmp_path: Path) -> None:
    module = tmp_path / "redis_optimizer/old.py"
    module.parent.mkdir()
    module.write_text("import warnings; warnings.warn('old', PendingDeprecationWarning)")
    assert OURS.findall(run(str(module)))


def test_no_module_command_or_request_warns(server: EmbeddedServer, tmp_path: Path) -> None:
    printed = run(
        "-c",
        IMPORT_ALL,
        DJANGO_SETTINGS_MODULE="example_project.settings",
        REDIS_URL=server.url,
        EXAMPLE_DB=str(tmp_path / "site.sqlite3"),
    )
    assert OURS.findall(printed) == []


@pytest.mark.slow
@pytest.mark.edges
def test_no_worker_warns(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", ALL)
    site = Site(tmp_path, server.port, tasks=["tests.tasks.site.budget"])
    with site.worker("-c", "1") as worker:
        sent = site.produce(
            "from tests.tasks.site.budget import ignored, together\n"
            "for task in (ignored, together): [task.delay(number) for number in range(3)]"
        )
        wait_until(lambda: len(runs.rows(site.runs)) == 6)
        assert worker.stop() == 0
    assert OURS.findall(worker.log + sent.stderr) == []
