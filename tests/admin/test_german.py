"""The page in another language."""

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.utils.translation import override

from redis_optimizer.stats import orders
from redis_optimizer.stats.gathered import Gathered, Process, Silent
from tests.admin.conftest import LogIn
from tests.admin.site import ACTIONS, DATA, PAGE
from tests.management.test_stats import FACTS
from tests.stats.processes import Reader
from tests.test_locale import COMPILED, read

TOTALS: dict[str, Any] = {
    "caches": {"default": {"hits": 3000, "misses": 1000, "bytes": 2048, "staleness_bound": 12}},
    "commands": {"avoided": 3000, "sent": 1000},
    "jobs": {
        "sent": 20,
        "messages": 2,
        "sizes": {"10": 2},
        "reasons": {"size": 2},
        "tasks": {"send": {"sent": 20}},
    },
    "endpoints": {"status": {"hits": 5, "runs": 1}},
    "views": {"home": {"requests": 4}},
}


@pytest.fixture(autouse=True)
def german() -> Iterator[None]:
    with override("de"):
        yield


@pytest.fixture
def client(log_in: LogIn) -> Client:
    return log_in("view_overview", *ACTIONS.values())


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process answer that has something to tell of everything, and another one not."""
    from redis_optimizer.admin import look

    found = Gathered([Process(FACTS, TOTALS, None, 0.1)], [Silent(1, "10.0.0.1")], 1)
    monkeypatch.setattr(look, "gather", lambda **options: found)


def shown(page: str) -> set[str]:
    """Return the texts of a page, and those that its attributes hold."""
    named = re.findall(r'\b(?:aria-label|title|data-word[-\w]*)="([^"]+)"', page)
    parts = re.findall(r">([^<]+)<", page) + named
    return {html.unescape(part).strip() for part in parts}


def test_no_english_is_left(client: Client, answers: None) -> None:
    orders.switch("dedup", False, by="bob")
    try:
        page = client.get(PAGE).content.decode()
    finally:
        orders.switch("dedup", True, by="bob")
    known = {text.rpartition("\4")[2]: forms[0] for text, forms in read(COMPILED).items()}
    texts = shown(page)
    german = {text for text, translation in known.items() if translation in texts}
    assert {"Processes", "Hit ratio", "Never staler than", "Switch it on", "{rate}/s"} <= german
    # Those of the admin itself may be in English, as far as its own catalogue has them.
    english = {text for text, translation in known.items() if text != translation}
    assert texts & english == set()


def test_numbers_and_sentences_are_german(client: Client, answers: None) -> None:
    parts = client.get(DATA).json()["parts"]
    assert "1 Prozess hat geantwortet." in parts["processes"]
    assert "Keine Antwort: PID 1 (10.0.0.1)." in parts["processes"]
    assert "75,0\N{NO-BREAK SPACE}%" in parts["tiles"]
    assert "3.000 von 4.000 Lesezugriffen" in parts["tiles"]
    assert "20 Jobs in 2 Nachrichten" in parts["tiles"]


def test_so_is_what_is_asked_and_told(client: Client, processes: list[Reader]) -> None:
    question = client.post(f"{PAGE}switch-off/", {"part": "cache"}).content.decode()
    assert "Den Teil „cache“ ausschalten?" in question
    assert "Nein, bitte abbrechen" in question
    response = client.post(f"{PAGE}flush/")
    (told,) = map(str, get_messages(response.wsgi_request))
    assert told.startswith("Gepufferte Jobs wurden gesendet:")
    assert f"PID {processes[0].pid} auf" in told
