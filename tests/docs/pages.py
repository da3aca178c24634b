"""The code blocks of the documentation's pages, as tests run them."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(
    r"^(?P<indent> *)\.\. code-block:: (?P<language>[\w+]+)\n"
    r"(?P<options>(?:(?P=indent) +:[^\n]*\n)*)"
    r"\n"
    r"(?P<code>(?:(?P=indent) +[^\n]*\n|\n)+)",
    re.MULTILINE,
)
CAPTION = re.compile(r":caption: *(.+)")


@dataclass(frozen=True)
class Block:
    """A block of code: what language it is in, what it is called, and its text."""

    language: str
    caption: str
    code: str


def read_blocks(page: str) -> list[Block]:
    """Return the blocks of a page of the documentation, in their order."""
    return find_blocks((DOCS / page).read_text())


def find_blocks(text: str) -> list[Block]:
    """Return the blocks of a text."""
    found = []
    for match in BLOCK.finditer(text):
        caption = CAPTION.search(match["options"])
        code = textwrap.dedent(match["code"]).strip("\n") + "\n"
        found.append(Block(match["language"], caption[1] if caption else "", code))
    return found


def all_pages() -> dict[str, str]:
    """Return the text of each page that is written by hand, README included, by its name."""
    paths = [ROOT / "README.rst", *sorted(DOCS.rglob("*.rst"))]
    return {
        str(path.relative_to(ROOT)): path.read_text()
        for path in paths
        if "_build" not in path.parts and path.name != "changelog.rst"
    }
