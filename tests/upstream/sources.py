"""The tests inside the sdists of the installed Django and django-redis, fetched by pip.

They are unpacked into the virtual environment that runs them: nothing of them is kept here.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

HOME = Path(sys.prefix) / "upstream"


def django_tests() -> Path:
    """Return a directory for sys.path that holds Django's test app `cache`."""
    return unpack("django", "tests/cache").parent


def django_redis_tests() -> Path:
    """Return the directory of django-redis's tests, as loose modules without its conftest."""
    return unpack("django-redis", "tests", "__init__.py", "conftest.py")


def unpack(project: str, folder: str, *left_out: str) -> Path:
    """Return one folder of the project's sdist, downloaded if it is not there yet."""
    target = HOME / f"{project}-{version(project)}" / folder
    if not target.is_dir():
        with tempfile.TemporaryDirectory() as scratch:
            with tarfile.open(download(project, scratch)) as sdist:
                sdist.extractall(scratch, filter="data")
            (unpacked,) = (path for path in Path(scratch).iterdir() if path.is_dir())
            ignore = shutil.ignore_patterns(*left_out)
            shutil.copytree(unpacked / folder, target, ignore=ignore)
    return target


def download(project: str, directory: str) -> Path:
    """Download the sdist of the installed version."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-binary", project, "--dest", directory),
            f"{project}=={version(project)}",
        ],
        check=True,
    )
    (sdist,) = Path(directory).glob("*.tar.gz")
    return sdist
