"""A process that has used all of it makes others, in each of Python's ways, and goes on."""

import pickle
import subprocess
import sys

import pytest
import redis

from tests.processes.served import WARNINGS, labels, no_connection_stays
from tests.tasks.processes import ROOT, Site

# Python warns since 3.12 of a fork beside threads; so the newest one has to run them, too.
pytestmark = [pytest.mark.slow, pytest.mark.edges]

SCRIPT = """
import multiprocessing, os, sys, threading
import django

def wait_until_kept():
    from django.core.cache import cache
    from tests.processes.site.jobs import KEY
    cache.get(KEY)
    assert cache.tier.wait_ready(60)
    cache.get(KEY)
    hits = cache.tier.hits
    assert cache.get(KEY) == "first"
    assert cache.tier.hits == hits + 1

def use(label):
    django.setup()
    from tests.tasks.site.app import app
    app.loader.import_default_modules()
    from tests.processes.site.jobs import buffered
    wait_until_kept()
    buffered.delay(label)

def fork(label):
    child = os.fork()
    if child == 0:
        use(label)
        sys.exit()
    assert os.waitpid(child, 0)[1] == 0

def start(method, label):
    process = multiprocessing.get_context(method).Process(target=use, args=(label,))
    process.start()
    process.join()
    assert process.exitcode == 0

if __name__ == "__main__":
    how = sys.argv[1]
    use("before")
    assert {each.name for each in threading.enumerate()} == {
        "MainThread", "redis_optimizer:channel", "redis_optimizer.jobs"
    }
    fork("child") if how == "os.fork" else start(how, "child")
    use("after")
"""


@pytest.mark.parametrize("how", ["os.fork", "fork", "spawn", "forkserver"])
def test_both_sides_go_on_without_a_warning(how: str, site: Site, admin: redis.Redis) -> None:
    admin.set("site:1:greeting", pickle.dumps("first"))
    script = site.directory / "script.py"
    script.write_text(SCRIPT)
    with no_connection_stays(admin):
        done = subprocess.run(
            [sys.executable, "-W", WARNINGS, str(script), how],
            cwd=ROOT,
            env=site.environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert labels(admin) == ["after", "before", "child"]
