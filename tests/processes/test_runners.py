"""Programs that run a site for who develops it: runserver, and tests in several processes."""

import contextlib
import http.client
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from tests.processes.served import FOR_ALL, WARNINGS, labels, no_connection_stays, served, trouble
from tests.servers import wait_until
from tests.tasks.processes import ROOT, STOP, Site

pytestmark = pytest.mark.slow

TESTS = """
from django.core.cache import cache
from django.test import SimpleTestCase
from tests.tasks.site.app import app

app.loader.import_default_modules()
from tests.processes.site.jobs import KEY, buffered


def read_in_process():
    cache.get(KEY)
    assert cache.tier.wait_ready(60)
    cache.get(KEY)
    hits = cache.tier.hits
    assert cache.get(KEY) == "first"
    assert cache.tier.hits == hits + 1

read_in_process()  # as what is loaded may do, before tests run in other processes


class FirstTests(SimpleTestCase):
    def test_it(self):
        read_in_process()
        buffered.delay("job a")


class SecondTests(SimpleTestCase):
    def test_it(self):
        read_in_process()
        buffered.delay("job b")
"""
# The plugins that matter, not all that are here: three processes would load them.
XDIST = ("-m", "pytest", "-q", "-n", "2", "-p", "xdist", "-p", "pytest_django")
RUNNERS = {
    "django": ("-m", "django", "test", "--parallel", "2", "--verbosity", "0"),
    "xdist": (*XDIST, "-p", "redis_optimizer.testing", "-p", "no:cacheprovider"),
}


@pytest.mark.edges  # only newer versions of Python warn of a fork beside threads
@pytest.mark.parametrize("runner", RUNNERS)
def test_tests_in_several_processes(runner: str, site: Site, admin: redis.Redis) -> None:
    admin.set("site:1:greeting", pickle.dumps("first"))
    (site.directory / "test_of_site.py").write_text(TESTS)
    (site.directory / "pytest.ini").write_text("[pytest]\n")
    with no_connection_stays(admin):
        done = subprocess.run(
            [sys.executable, "-W", WARNINGS, *RUNNERS[runner]],
            cwd=site.directory,
            env=site.environment()
            | {"PYTHONPATH": f"{ROOT}:{site.directory}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    assert trouble(printed) == []
    assert labels(admin) == ["job a", "job b"]


def test_runserver_that_reloads(site: Site, admin: redis.Redis) -> None:
    urls = site.directory / "urls_of_site.py"
    urls.write_text("from tests.processes.site.web import urlpatterns\n")
    site.settings |= {
        "ROOT_URLCONF": urls.stem,
        "WSGI_APPLICATION": "tests.processes.site.wsgi.application",
    }
    command = (sys.executable, "-m", "django", "runserver", "PORT", "--skip-checks")
    environment = {"PYTHONPATH": f"{ROOT}:{site.directory}"}
    with (
        no_connection_stays(admin),
        served(site, command, workers=1, environment=environment) as running,
    ):
        running.get("/write/first/")
        [old] = running.wait_all(lambda answer: answer["kept"])
        running.get("/send/before/")
        edits = 0

        def is_new() -> bool:
            nonlocal edits
            # The process that is replaced may end amid its answer: then that is no JSON.
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                if running.get("/page/")["pid"] != old:
                    return True
                # Django looks once a second, and takes for unchanged what it sees the first time.
                edits += 1
                _edit(urls, edits)
            return False

        wait_until(is_new, FOR_ALL, step=2)
        assert labels(admin) == ["before"]
        running.wait_all(lambda answer: answer["kept"] and answer["value"] == "first")
        running.get("/send/after/")
        os.killpg(running.process.pid, signal.SIGINT)  # Ctrl-C reaches both processes
        assert running.process.wait(STOP) == 0
        wait_until(running.is_gone)
    assert labels(admin) == ["after", "before"]
    assert trouble(running.log) == []


def _edit(path: Path, edits: int) -> None:
    # Its time decides; a file system may know only seconds.
    later = time.time() + 10 * edits
    os.utime(path, (later, later))
