"""The layers hold."""

import ast
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
