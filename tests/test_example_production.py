"""The example site's settings for production: nothing is left for Django to warn of."""

import subprocess
import sys
from pathlib import Path

import pytest

from redis_optimizer.embedded import EmbeddedServer
from tests.demo import ROOT, clean_environment

GIVEN = {
    "EXAMPLE_SECRET_KEY": "".join(map(chr, range(48, 110))),
    "EXAMPLE_ALLOWED_HOSTS": "site.example,www.site.example",
}
ASK = """
import django; django.setup()
from django.test import Client
client = Client(headers={"host": "site.example"})
secure = {"X-Forwarded-Proto": "https"}
page = client.get("/log-in/", headers=secure)
print([client.get(path).status_code for path in ("/log-in/", "/live/", "/ready/")])
print(page.status_code, page["Strict-Transport-Security"])
print(sorted(name for name, cookie in page.cookies.items() if cookie["secure"]))
print(client.get("/log-in/", headers=secure | {"host": "other.example"}).status_code)
"""


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    given = {"DJANGO_SETTINGS_MODULE": "example_project.production", **environment}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=clean_environment(**given),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_it_passes_the_checks_for_deploys() -> None:
    done = run("manage.py", "check", "--deploy", "--fail-level", "DEBUG", **GIVEN)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_pages_are_for_https_and_probes_for_everybody(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    database = str(tmp_path / "site.sqlite3")
    done = run("-c", ASK, REDIS_URL=server.url, EXAMPLE_DB=database, **GIVEN)
    assert done.returncode == 0, done.stderr
    probes, page, cookies, stranger = done.stdout.splitlines()
    assert probes == "[301, 200, 200]"
    assert page == "200 max-age=31536000; includeSubDomains; preload"
    assert cookies == "['csrftoken']"
    assert stranger == "400"


@pytest.mark.parametrize("missing", GIVEN)
def test_what_is_missing_is_named(missing: str) -> None:
    done = run("manage.py", "check", **{n: v for n, v in GIVEN.items() if n != missing})
    assert done.returncode != 0
    assert f"Set {missing} in the environment" in done.stderr
