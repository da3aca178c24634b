"""What the pages show is there: code, settings, commands, ids, programs."""

import argparse
import ast
import doctest
import inspect
import re
import runpy
import warnings
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.core.management import load_command_class

import redis_optimizer
from redis_optimizer.cache.options import Options
from redis_optimizer.conf import Settings
from tests.docs.pages import DOCS, ROOT, all_pages, find_blocks, read_blocks

PACKAGE = Path(redis_optimizer.__file__).parent
PAGES = all_pages()
COMMANDS = {path.stem for path in (PACKAGE / "management/commands").glob("r*.py")}
COMMAND = re.compile(
    r"(manage\.py[ \n]+)?(redis_optimizer_[a-z]+)((?:[ \n]+(?:--?[a-z][\w-]*|[\w./'\"]+))*)"
)
CHECK_ID = re.compile(r"redis_optimizer\.([EW]\d{3})")
PROGRAM = re.compile(r"python -m (tests\.[\w.]+)")
TEST_FILE = re.compile(r"``(?:python -m pytest )?(tests/[\w./]+)``")

each_page = pytest.mark.parametrize("page", PAGES)


def trees(page: str) -> Iterator[ast.Module]:
    """Yield what the blocks of Python on a page are parsed to."""
    for block in find_blocks(PAGES[page]):
        if block.language == "python" and block.caption != "before":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                code = compile(
                    _whole(block.code),
                    page,
                    "exec",
                    ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
                )
            yield code


def _whole(code: str) -> str:
    """Return code without what a page leaves to the reader, as `[...]` with more in it."""
    if re.match(r'"[A-Z_]+":', code.splitlines()[-1]):  # entries of a dict
        lines = code.splitlines()
        start = next(number for number, line in enumerate(lines) if re.match(r'"[A-Z_]+":', line))
        return "\n".join([*lines[:start], "{", *lines[start:], "}"])
    return code


def literals(tree: ast.AST, name: str) -> Iterator[dict[str, Any]]:
    """Yield the dicts that are assigned to a name, or stand under it; what is computed is None."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Dict() as value):
                if found == name:
                    yield _evaluate(value)
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == name:
                        assert isinstance(value, ast.Dict)
                        yield _evaluate(value)


def _evaluate(node: ast.Dict) -> dict[str, Any]:
    # The names must be plain, the values may be computed, as 64 * 1024**2.
    return {
        ast.literal_eval(key): eval(  # of a page of our own
            compile(ast.Expression(value), "a page", "eval"), {"__builtins__": {}}
        )
        for key, value in zip(node.keys, node.values, strict=True)
        if key is not None
    }


@each_page
def test_python_is_python(page: str) -> None:
    for _ in trees(page):
        pass


@each_page
def test_what_is_imported_from_the_package_is_there(page: str) -> None:
    for tree in trees(page):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "redis_optimizer"
            ):
                # Not imported: the admin, for one, is not installed in these tests.
                path = PACKAGE.joinpath(*str(node.module).split(".")[1:])
                files = (path.with_suffix(".py"), path / "__init__.py")
                source = "".join(file.read_text() for file in files if file.exists())
                for alias in node.names:
                    has = re.search(rf"\b{alias.name}\b", source)
                    is_module = any(path.glob(f"{alias.name}*"))
                    assert has or is_module, (node.module, alias.name)


@each_page
def test_settings_are_ones_that_there_are(page: str) -> None:
    for tree in trees(page):
        for given in literals(tree, "REDIS_OPTIMIZER"):
            Settings(**given)
        for given in literals(tree, "L1"):
            Options.from_params({"OPTIONS": {"L1": given}})


@each_page
def test_commands_and_their_options_are_ones_that_there_are(page: str) -> None:
    for manage, name, rest in COMMAND.findall(PAGES[page]):
        assert name in COMMANDS or not manage, name
        if name not in COMMANDS or name == "redis_optimizer_worker":  # takes those of celery, too
            continue
        command = load_command_class("redis_optimizer", name)
        known = set(_options(command.create_parser("manage.py", name)))
        assert set(re.findall(r"(?<!\S)--[a-z][\w-]*", rest)) <= known, (name, rest)


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _options(each)


@each_page
def test_ids_of_system_checks_are_ones_that_there_are(page: str) -> None:
    source = "".join(path.read_text() for path in (PACKAGE / "checks").glob("*.py"))
    assert {*CHECK_ID.findall(PAGES[page])} <= {*CHECK_ID.findall(source)}


@each_page
def test_programs_and_tests_that_are_named_are_there(page: str) -> None:
    for module in PROGRAM.findall(PAGES[page]):
        assert find_spec(module), module
    for path in TEST_FILE.findall(PAGES[page]):
        assert (ROOT / path).exists(), path


@each_page
def test_examples_come_to_what_the_page_says(page: str) -> None:
    for block in find_blocks(PAGES[page]):
        if block.language == "pycon":
            test = doctest.DocTestParser().get_doctest(block.code, {}, page, page, 0)
            said: list[str] = []
            doctest.DocTestRunner().run(test, out=said.append)
            assert not said, "".join(said)


@pytest.mark.parametrize("kind", [Settings, Options])
def test_every_setting_says_what_it_is_for(kind: type) -> None:
    [tree] = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    told = {
        node.target.id
        for node, after in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }
    assert told == {field.name for field in fields(kind) if field.init}


def test_the_page_of_settings_is_made_of_them() -> None:
    text = (DOCS / "settings.rst").read_text()
    for kind in (Settings, Options):
        assert f".. autoclass:: {kind.__module__}.{kind.__name__}\n   :members:\n" in text


def test_the_page_of_system_checks_has_all_of_them() -> None:
    scope = runpy.run_path(str(DOCS / "found_checks.py"))
    found = scope["find_checks"]()
    source = "".join(path.read_text() for path in (PACKAGE / "checks").glob("*.py"))
    ids = [check.id.removeprefix("redis_optimizer.") for check in found]
    assert set(ids) == {*CHECK_ID.findall(source)}
    assert len(set(ids)) == len(ids)
    assert all(check.message and len(check.hint) > 1 for check in found)


def test_pages_begin_by_what_they_give() -> None:
    for name, text in PAGES.items():
        title, underline, blank, first = text.splitlines()[:4]
        assert re.fullmatch(r"[=-]+", underline), name
        assert len(underline) == len(title), name
        assert (blank, bool(first.strip())) == ("", True), name
        assert not first.startswith(("..", " ", "-")), name


def test_the_blocks_of_a_page_are_found() -> None:
    captions = [block.caption for block in read_blocks("quickstart.rst")]
    assert "mysite/tasks.py" in captions
    assert all(block.code.endswith("\n") for block in read_blocks("quickstart.rst"))


def test_pictures_are_small_and_told_in_words() -> None:
    images = list((DOCS / "images").iterdir())
    shown = [name for text in PAGES.values() for name in re.findall(r"figure:: images/(\S+)", text)]
    assert {path.name for path in images} == set(shown)
    assert all(path.stat().st_size < 150_000 for path in images)
    for text in PAGES.values():
        assert text.count("figure::") == len(re.findall(r"figure:: \S+\n +:alt: \w", text))
