"""Every text that users see can be translated, and is in German."""

import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import django
import pytest

import redis_optimizer
from tests.missing import go_without

PACKAGE = Path(redis_optimizer.__file__).parent
TEXTS = PACKAGE / "locale/de/LC_MESSAGES/django.po"
COMPILED = TEXTS.with_suffix(".mo")
PAGES = [
    path
    for path in sorted((PACKAGE / "templates").rglob("*.html"))
    if path.name != "benchmark.html"  # a command writes it: in English, as what it prints
]
UNITS = {"ms", "µs"}

Catalogue = dict[str, list[str]]
"""The forms of each text's translation. One with a context is named after both; see gettext."""


def read(path: Path) -> Catalogue:
    """Read a compiled catalogue, as the GNU gettext manual describes the file."""
    data = path.read_bytes()
    count, texts, translations = struct.unpack_from("<8x3I", data)

    def text(table: int, number: int) -> list[str]:
        length, start = struct.unpack_from("<2I", data, table + 8 * number)
        return data[start : start + length].decode().split("\0")

    found = {text(texts, each)[0]: text(translations, each) for each in range(count)}
    del found[""]  # the header
    return found


def texts_of(source: str) -> set[tuple[str, ...]]:
    """Return the texts that a catalogue to be compiled holds, each with context and plural."""
    return {
        tuple(re.findall(r"^(?:msgctxt|msgid|msgid_plural) .*", entry, re.M))
        for entry in re.split(r"\n{2,}", source)
    }


def tool(name: str) -> str:
    found = shutil.which(name)
    return found or go_without(f"{name} is not installed: apt-get install gettext")


def test_every_marked_text_is_in_the_catalogue_and_no_other(tmp_path: Path) -> None:
    tool("xgettext")
    ignored = shutil.ignore_patterns("__pycache__", "static")
    copy = shutil.copytree(PACKAGE, tmp_path / "redis_optimizer", ignore=ignored)
    command = (sys.executable, "-m", "django", "makemessages", "-l", "de", "--no-wrap")
    environment = {n: v for n, v in os.environ.items() if n != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = copy / TEXTS.relative_to(PACKAGE)
    assert texts_of(made.read_text()) == texts_of(TEXTS.read_text())


def test_the_compiled_catalogue_is_of_these_texts(tmp_path: Path) -> None:
    """The check sees, among others, that a translation is given what its text is."""
    made = tmp_path / "django.mo"
    command = (tool("msgfmt"), "--check", "-o", str(made), str(TEXTS))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read(made) == read(COMPILED)


def test_nothing_is_missing_uncertain_or_out_of_use() -> None:
    source = TEXTS.read_text()
    assert len(re.findall(r'^msgstr(?:\[\d\])? ""$', source, re.M)) == 1  # the header's
    assert "fuzzy" not in source
    assert "#~" not in source


def test_a_word_alone_has_a_context() -> None:
    """Catalogues of all apps are one: "View" is something else in the admin, "To" in a mailer."""
    words = {text for text in read(COMPILED) if re.fullmatch(r"\w+", text)}
    assert words == set()


def test_what_django_says_as_well_it_says_likewise() -> None:
    ours = read(COMPILED)
    for path in Path(django.__file__).parent.glob("**/locale/de/LC_MESSAGES/django.mo"):
        theirs = read(path)
        for text in ours.keys() & theirs.keys():
            assert ours[text] == theirs[text]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_text_of_a_template_is_unmarked(path: Path) -> None:
    source = path.read_text()
    for left_out in (
        r"\{% blocktranslate.*?endblocktranslate %\}",
        r"\{% block (?:bodyclass|coltype) %\}.*?\{% endblock %\}",
        r"\{#.*?#\}",
    ):
        source = re.sub(left_out, "", source, flags=re.S)
    shown = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|&\w+;", "", source)
    labels = re.findall(r'\b(?:aria-label|title|alt|placeholder|data-word[-\w]*)="(.*?)"', shown)
    words = re.findall(r"[^\W\d_]+", " ".join([re.sub(r"<[^>]*>", " ", shown), *labels]))
    assert set(words) <= UNITS
