"""What is made of findings: their order, and a report that a broken look does not spoil."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from redis_optimizer.doctor import Evidence, Severity, examine
from redis_optimizer.doctor.evidence import Unknown
from redis_optimizer.doctor.examine import examinations
from redis_optimizer.doctor.findings import Examination, Found, examination

DOCS = Path(__file__).resolve().parents[2] / "docs" / "doctor.rst"


def finds(id: str, severity: Severity = Severity.WARNING, *saves: float | None) -> Examination:
    @examination(id, severity, "Because.")
    def run(evidence: Evidence) -> Iterator[Found]:
        for each in saves or (None,):
            yield Found(what="Something.", change="Nothing.", saves=each)

    return run


def test_what_endangers_data_comes_first_and_then_what_saves_most() -> None:
    report = examine(
        Evidence(),
        through=[
            finds("note", Severity.INFO),
            finds("little", Severity.INFO, 5, 50),
            finds("danger", Severity.ERROR),
            finds("much", Severity.WARNING, 1_000),
            finds("none", Severity.WARNING),
        ],
    )
    assert [(each.id, each.saves) for each in report.findings] == [
        ("danger", None),
        ("much", 1_000),
        ("little", 50),
        ("little", 5),
        ("none", None),
        ("note", None),
    ]
    assert [each.id for each in report.at_least(Severity.ERROR)] == ["danger"]
    assert len(report.at_least(Severity.WARNING)) == 3


def test_what_cannot_be_known_or_is_broken_is_said_beside_the_rest() -> None:
    @examination("unknown", Severity.INFO, "")
    def unknown(evidence: Evidence) -> Iterator[Found]:
        yield Found(what="Before.", change="")
        raise Unknown("the moon: it is cloudy")

    @examination("broken", Severity.INFO, "")
    def broken(evidence: Evidence) -> Iterator[Found]:
        raise ZeroDivisionError("by zero")
        yield

    report = examine(Evidence(unknown=("x",)), through=[unknown, unknown, broken, finds("fine")])
    assert report.unknown == ("x", "the moon: it is cloudy", "broken: ZeroDivisionError: by zero")
    assert [each.id for each in report.findings] == ["fine", "unknown", "unknown"]


def test_some_can_be_left_out() -> None:
    all_of_them = [finds("one"), finds("two"), finds("three")]
    only = examine(Evidence(), only=["one", "two"], skip=["two"], through=all_of_them)
    assert [each.id for each in only.findings] == ["one"]
    skipped = examine(Evidence(), skip=["two"], through=all_of_them)
    assert {each.id for each in skipped.findings} == {"one", "three"}


def test_an_id_is_a_word() -> None:
    with pytest.raises(ValueError, match="no id"):
        finds("Two words")


def test_each_has_an_id_of_its_own_and_says_why() -> None:
    ids = [each.id for each in examinations()]
    assert len(set(ids)) == len(ids)
    assert all(each.why.endswith(".") for each in examinations())


def test_each_is_documented_under_its_id() -> None:
    titles = re.findall(r"^([a-z0-9-]+)\n[~]+$", DOCS.read_text(), re.MULTILINE)
    assert sorted(titles) == sorted(each.id for each in examinations())


def test_an_empty_site_has_no_finding_but_of_its_settings() -> None:
    report = examine(Evidence())
    assert {each.id for each in report.findings} <= {"middleware-missing"}
    assert report.unknown == ()
