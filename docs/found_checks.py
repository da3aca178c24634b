"""The system checks, as the source has them: no list to keep up."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import redis_optimizer

SOURCE = Path(redis_optimizer.__file__).parent / "checks"
KINDS = ("Error", "Warning")
LEFT_OUT = "…"  # what a message names when it is made


class SystemCheck(NamedTuple):
    """What a check may say."""

    id: str
    message: str
    hint: str


def find_checks() -> list[SystemCheck]:
    """Return all that the source has, by their ids."""
    return sorted(check for path in SOURCE.glob("*.py") for check in _read(path.read_text()))


def _read(source: str) -> Iterator[SystemCheck]:
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if node.func.id in KINDS and "id" in given:
            message = node.args[0] if node.args else given["msg"]
            yield SystemCheck(*map(_text, (given["id"], message, given["hint"])))


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case _:
            return LEFT_OUT
