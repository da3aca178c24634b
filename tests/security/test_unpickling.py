"""The package unpickles in one place, which the page of security names."""

import ast
from collections.abc import Iterator
from pathlib import Path

import redis_optimizer
from tests.tasks.processes import ROOT

PACKAGE = Path(redis_optimizer.__file__).parent
EXECUTES = {"cloudpickle", "cPickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve"}
UNPICKLES = "core/values.py"
PAGE = (ROOT / "docs" / "security.rst").read_text()


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Yield all that there is in the package's source, and the file that it is in."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            yield path.relative_to(PACKAGE).as_posix(), node


def imported(node: ast.AST) -> set[str]:
    """Return the modules that a statement imports, or imports from."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return set()


def test_one_module_imports_what_executes_as_it_reads() -> None:
    assert {path for path, node in nodes() if imported(node) & EXECUTES} == {UNPICKLES}
    assert "redis_optimizer.core.values" in PAGE


def test_nothing_is_evaluated() -> None:
    called = {
        node.func.id
        for _, node in nodes()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"eval", "exec", "compile", "__import__"}


def test_what_celery_serialized_is_read_by_what_the_site_accepts() -> None:
    readers = {
        path
        for path, node in nodes()
        if isinstance(node, ast.ImportFrom)
        and node.module == "kombu.serialization"
        and "loads" in {alias.name for alias in node.names}
    }
    calls = [
        node
        for path, node in nodes()
        if path in readers
        and isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "loads"
    ]
    assert len(calls) >= len(readers) > 0
    for call in calls:
        assert "accept" in {keyword.arg for keyword in call.keywords}, ast.unparse(call)
