"""``manage.py redis_optimizer_worker``."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from redis_optimizer.embedded import EmbeddedServer
from tests.servers import connect, wait_until
from tests.tasks.processes import ROOT, STOP, Site
from tests.tasks.quiet import TASKS, next_wait, wait_for_wait, worker_settings
from tests.tasks.site import runs

COMMAND = ("-m", "django", "redis_optimizer_worker")
APP = ("-A", "tests.tasks.site.app")


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site(tasks=[TASKS])


@pytest.fixture
def admin(server: EmbeddedServer) -> Iterator[redis.Redis]:
    client = connect(server, timeout=30)
    yield client
    client.close()


@contextmanager
def started(site: Site, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(
        [sys.executable, *COMMAND, *arguments],
        cwd=ROOT,
        env=site.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(STOP)


def refused(site: Site, *arguments: str) -> str:
    done = site.run(*COMMAND, *arguments, check=False)
    assert done.returncode != 0
    return done.stderr


def test_it_runs_jobs_in_its_own_process_and_ends_as_the_worker_does(
    site: Site, admin: redis.Redis
) -> None:
    options = ("--profile", "metered", "-P", "solo", "-Q", "celery,mail")
    with started(site, *APP, *options) as process:
        wait_for_wait(admin)
        site.produce("from tests.tasks.site.quiet import note; note.apply_async([1], queue='mail')")
        wait_until(lambda: runs.rows(site.runs))
        assert [process.pid] == [pid for _, _, pid in runs.rows(site.runs)]
        wait_until(lambda: next_wait(admin) == 60, 90)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP) == 0


@pytest.mark.parametrize(("profile", "seconds"), [("balanced", 4), ("default", 1)])
def test_its_profile_takes_the_place_of_the_settings(
    make_site: Callable[..., Site], admin: redis.Redis, profile: str, seconds: float
) -> None:
    site = make_site(tasks=[TASKS], settings=worker_settings("metered_no_remote_control"))
    with started(site, *APP, "--profile", profile, "-P", "solo"):
        wait_until(lambda: next_wait(admin) == seconds, 90)
        wait_until(lambda: admin.pubsub_numpat())  # it listens to remote control


def test_without_a_profile_it_does_as_the_settings_say(
    make_site: Callable[..., Site], admin: redis.Redis
) -> None:
    site = make_site(tasks=[TASKS], settings=worker_settings())
    with started(site, *APP, "-P", "solo"):
        wait_until(lambda: next_wait(admin) == 60, 90)


def test_an_unknown_profile_is_refused_with_the_known_ones(site: Site) -> None:
    assert "default, balanced, metered" in refused(site, *APP, "--profile", "quiet")


def test_without_an_app_it_says_how_to_name_one(site: Site) -> None:
    assert "There is no Celery app. Name it with -A" in refused(site, "-c", "1")


def test_an_app_that_is_not_there_is_named(site: Site) -> None:
    assert "The module nosuch was not found" in refused(site, "-A", "nosuch")


def test_an_option_that_celery_does_not_know_is_named(site: Site) -> None:
    assert "--nosuch" in refused(site, *APP, "--nosuch")


def test_it_stays_in_the_foreground(site: Site) -> None:
    assert "celery multi" in refused(site, *APP, "-D")
