"""The layers hold, and versions are what the changelog says."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import redis_optimizer

PACKAGE = Path(redis_optimizer.__file__).parent
ROOT = PACKAGE.parent


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_imports_point_down_only() -> None:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    result = run(sys.executable, "-c", program, "--no-cache", "--no-logo")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_core_runs_on_the_standard_library_alone() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((PACKAGE / "core").glob("*.py"))
    ]
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {', '.join(modules)}"
    result = run(sys.executable, "-I", "-S", "-c", program)
    assert result.returncode == 0, result.stderr


def test_the_package_itself_holds_its_version_alone() -> None:
    docstring, *statements = ast.parse((PACKAGE / "__init__.py").read_text()).body
    assert isinstance(docstring, ast.Expr)
    assert [ast.unparse(one) for one in statements] == ["__version__ = '0.1.0'"]


class TestChangelog:
    """Its form is that of https://keepachangelog.com/en/1.1.0/."""

    titles = re.findall(r"^(.+)\n-+$", (ROOT / "CHANGELOG.rst").read_text(), re.M)

    def test_it_tells_of_this_version_or_of_what_will_be_one(self) -> None:
        newest = self.titles[0].partition(" ")[0]
        assert newest in {"Unreleased", redis_optimizer.__version__}

    def test_a_version_has_a_number_and_a_date_and_the_last_is_the_first(self) -> None:
        released = [title for title in self.titles if title != "Unreleased"]
        for title in released:
            assert re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", title)
        assert "Unreleased" not in self.titles[1:]
        numbers = [[int(part) for part in title.split(" ")[0].split(".")] for title in released]
        assert numbers == sorted(numbers, reverse=True)

    def test_changes_are_sorted_by_their_kind(self) -> None:
        kinds = re.findall(r"^(.+)\n~+$", (ROOT / "CHANGELOG.rst").read_text(), re.M)
        known = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
        assert kinds
        assert set(kinds) <= known
