"""An environment for each peer: they need what contradicts each other.

A file of `requirements/` names what a peer needs. Django and redis-py are those of this
environment, unless the peer's file pins its own, so that one version is compared.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DEFAULT = ROOT / ".benchmarks"
REQUIREMENTS = Path(__file__).with_name("requirements")
SHARED = ("django", "redis")
LIMIT = 300  # seconds for an installation


class NotInstalled(Exception):
    """A peer cannot be installed here; the message says why."""


class Environments:
    """The environments in one directory, made when first asked for.

    Args:
        directory: it stays, and the next run finds what is there.
        only_here: make none: for a machine without an index of packages.
    """

    def __init__(self, directory: Path, *, only_here: bool = False) -> None:
        self.directory = directory
        self.only_here = only_here
        self._made: dict[str, Path | NotInstalled] = {}

    def python(self, peer: str | None) -> str:
        """Return the interpreter of a peer's environment; None is this environment.

        Raises:
            NotInstalled: with the installer's own reason.
        """
        if peer is None:
            return sys.executable
        if peer not in self._made:
            try:
                self._made[peer] = self._make(peer)
            except NotInstalled as reason:
                self._made[peer] = reason
        made = self._made[peer]
        if isinstance(made, NotInstalled):
            raise made
        return str(made)

    def _make(self, peer: str) -> Path:
        if self.only_here:
            raise NotInstalled("no environments were wanted")
        file = REQUIREMENTS / f"{peer}.txt"
        constraints = "".join(f"{name}=={version(name)}\n" for name in SHARED)
        stamp = file.read_text() + constraints + sys.version
        name = f"{peer}-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
        target = self.directory / name
        python = target / "bin" / "python"
        complete = target / "complete"
        if complete.exists():
            return python
        shutil.rmtree(target, ignore_errors=True)  # of a run that was interrupted
        self.directory.mkdir(parents=True, exist_ok=True)
        constraint = self.directory / f"{name}.constraints"
        constraint.write_text(constraints)
        for command in _commands(target, python, file, constraint):
            _run(command)
        complete.touch()
        return python


def _commands(target: Path, python: Path, file: Path, constraint: Path) -> list[list[str]]:
    packages = ["-q", "-r", str(file), "-c", str(constraint)]
    if uv := shutil.which("uv"):
        return [
            [uv, "venv", "-q", "--python", sys.executable, str(target)],
            [uv, "pip", "install", "--python", str(python), *packages],
        ]
    return [
        [sys.executable, "-m", "venv", str(target)],
        [str(python), "-m", "pip", "install", *packages],
    ]


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT, env=environment()
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"not done within {LIMIT} s") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstalled(" ".join(" ".join(lines[-4:]).split()) or "the installer failed")


def environment() -> dict[str, str]:
    """Return what a peer's processes find in their environment: this repository, and no venv.

    Nor a site's settings, by which Celery would load the site, and with it what it is compared to.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("VIRTUAL_ENV", "UV_PYTHON", "DJANGO_SETTINGS_MODULE")
    }
    return {**kept, "PYTHONPATH": str(ROOT)}
