"""What is built of this: it holds all that a site needs, and runs where nothing else of it is."""

import email.message
import email.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

import redis_optimizer
from redis_optimizer.embedded import EmbeddedServer
from tests.docs.pages import read_blocks

pytestmark = pytest.mark.slow

PACKAGE = Path(redis_optimizer.__file__).parent
ROOT = PACKAGE.parent
LEFT_OUT = shutil.ignore_patterns(
    *(".*", "__pycache__", "*.egg-info", "build", "dist", "_build", "*.sqlite3*", "shared")
)
BUILD = "import sys; from setuptools import build_meta as build; build.build_{}(sys.argv[1])"

USE = """
import json
from importlib.metadata import version
import django; django.setup()
import redis_optimizer
from django.contrib.staticfiles.finders import find
from django.core.cache import cache, caches
from django.core.management import call_command
from django.template.loader import get_template
from django.utils.translation import override, pgettext
call_command("check")
cache.set("greeting", "hello")
assert cache.tier.wait_ready(30)
with override("de"):
    word = pgettext("health", "failing")
print(json.dumps({
    "file": redis_optimizer.__file__,
    "version": version("redis-optimizer"),
    "kept": cache.get("greeting"),
    "backend": type(caches["default"]).__name__,
    "static": find("redis_optimizer/vendor/uplot/uPlot.iife.min.js"),
    "template": get_template("redis_optimizer/admin/page.html").origin.name,
    "word": word,
}))
"""


class Built(NamedTuple):
    wheel: Path
    sdist: Path


def build(source: Path, kind: str, into: Path) -> Path:
    """Build a "wheel" or an "sdist" in a process of its own, as pip does."""
    into.mkdir(exist_ok=True)
    command = [sys.executable, "-c", BUILD.format(kind), str(into)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    suffix = {"wheel": "*.whl", "sdist": "*.tar.gz"}[kind]
    (found,) = into.glob(suffix)
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    directory = tmp_path_factory.mktemp("built")
    source = shutil.copytree(ROOT, directory / "source", ignore=LEFT_OUT)
    return Built(build(source, "wheel", directory), build(source, "sdist", directory))


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(wheel: Path) -> email.message.Message:
    (text,) = [data for name, data in contents(wheel).items() if name.endswith("/METADATA")]
    return email.parser.Parser().parsestr(text.decode())


def test_the_wheel_holds_every_file_of_the_package_and_no_other(built: Built) -> None:
    files = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    expected = {name for name in files if "__pycache__" not in name}
    info = f"redis_optimizer-{redis_optimizer.__version__}.dist-info"
    names = set(contents(built.wheel))
    assert {name for name in names if not name.startswith(f"{info}/")} == expected
    assert f"{info}/licenses/LICENSE" in names
    assert contents(built.wheel)[f"{info}/top_level.txt"] == b"redis_optimizer\n"


def test_the_sdist_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    for needed in ("tests/test_wheel.py", "docs/index.rst", "example_project/settings.py"):
        assert (source / needed).is_file()
    assert contents(build(source, "wheel", tmp_path / "again")) == contents(built.wheel)


def test_the_metadata_say_what_it_is_and_needs(built: Built) -> None:
    told = metadata(built.wheel)
    assert (told["Name"], told["Version"]) == ("redis-optimizer", redis_optimizer.__version__)
    assert told["License-File"] == "LICENSE"
    assert told["Requires-Python"] == ">=3.11"
    needed = {
        name.partition(";")[0] for name in told.get_all("Requires-Dist", []) if "extra" not in name
    }
    assert {re.split(r"[\[<>=]", name)[0] for name in needed} == {
        *("celery", "django", "django-celery-results", "django-redis"),
        "kombu",  # Celery brings it, in a version that may be too old
    }


def test_the_description_renders_where_packages_are_listed(built: Built) -> None:
    from docutils.core import publish_string

    told = metadata(built.wheel)
    assert told["Description-Content-Type"] == "text/x-rst"
    refused = {"file_insertion_enabled": False, "raw_enabled": False}  # as there
    strict = {"halt_level": 2, "report_level": 2}  # by a warning
    page = publish_string(
        told.get_payload(), writer="html5", settings_overrides={**refused, **strict}
    )
    assert b"redis_optimizer.cache.TieredCache" in page


def test_the_wheel_alone_runs_by_the_quick_start(
    built: Built, server: EmbeddedServer, tmp_path: Path
) -> None:
    installed = tmp_path / "installed"
    with zipfile.ZipFile(built.wheel) as archive:
        archive.extractall(installed)
    (shown,) = [
        block.code
        for block in read_blocks("quickstart.rst")
        if block.caption == "mysite/settings.py, at the end"
    ]
    project = installed / "mysite"
    project.mkdir()
    (project / "__init__.py").touch()
    (project / "settings.py").write_text(
        'SECRET_KEY = "only-for-tests"\n'
        'INSTALLED_APPS = ["django.contrib.staticfiles"]\n'
        "MIDDLEWARE = []\n"
        'STATIC_URL = "static/"\n'
        'TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates",'
        ' "APP_DIRS": True}]\n' + shown.replace("redis://127.0.0.1:6379/0", server.url)
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    given = {"PYTHONPATH": str(installed), "DJANGO_SETTINGS_MODULE": "mysite.settings"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", USE],
        cwd=tmp_path,
        env=kept | given,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checked, told = done.stdout.splitlines()
    assert checked == "System check identified no issues (0 silenced)."
    found = json.loads(told)
    for name in ("file", "static", "template"):
        assert found.pop(name).startswith(f"{installed}/")
    assert found == {
        "version": redis_optimizer.__version__,
        "kept": "hello",
        "backend": "TieredCache",
        "word": "gestört",
    }
