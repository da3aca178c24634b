"""What the comparisons share: environments, processes, claims."""

import sys
from pathlib import Path

import pytest

from tests.benchmarks.peers import environments
from tests.benchmarks.peers.child import Child, Failed
from tests.benchmarks.peers.environments import Environments, NotInstalled
from tests.benchmarks.peers.report import Claim, ratio, table

ECHO = """\
import sys, time
from tests.benchmarks.peers.answers import answer

def fail():
    print("what a library says")
    raise ValueError("not so")

answer(
    {
        "echo": lambda word: word,
        "fail": fail,
        "sleep": lambda seconds: time.sleep(seconds),
        "exit": lambda: sys.exit("gone"),
    }
)
"""


class TestClaim:
    @pytest.mark.parametrize(
        ("value", "at_most", "verdict"),
        [
            (2.0, True, "holds"),
            (2.1, True, "missed"),
            (2.0, False, "holds"),
            (1.9, False, "missed"),
            (None, True, "not measured"),
        ],
    )
    def test_a_figure_is_held_against_its_limit(
        self, value: float | None, at_most: bool, verdict: str
    ) -> None:
        claim = Claim("a thing", value, 2, at_most=at_most)
        assert claim.verdict == claim.as_dict()["verdict"] == verdict
        assert claim.as_text().startswith(verdict)

    def test_there_is_no_ratio_without_both(self) -> None:
        assert ratio(3, 2) == 1.5
        assert ratio(None, 2) is None
        assert ratio(3, None) is None


def test_a_table_says_what_is_not_known() -> None:
    lines = table(
        "Title", ["", "n"], [["one", 1234], ["two", None], ["three", 0.1234]]
    ).splitlines()
    assert [line.split() for line in lines] == [
        ["Title"],
        ["n"],
        ["one", "1,234"],
        ["two", "-"],
        ["three", "0.123"],
    ]


class TestEnvironments:
    def test_none_is_this_one(self, tmp_path: Path) -> None:
        assert Environments(tmp_path).python(None) == sys.executable

    def test_none_is_made_where_none_is_wanted(self, tmp_path: Path) -> None:
        with pytest.raises(NotInstalled, match="no environments were wanted"):
            Environments(tmp_path, only_here=True).python("rq")
        assert not any(tmp_path.iterdir())

    def test_the_installers_reason_is_told_each_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "peer.txt").write_text(f"{tmp_path}/is-no-package\n")
        monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
        made = Environments(tmp_path / "environments")
        for _ in range(2):
            with pytest.raises(NotInstalled, match="is-no-package"):
                made.python("peer")

    def test_what_is_there_is_used_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "peer.txt").write_text("# nothing\n")
        monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
        python = Environments(tmp_path / "environments").python("peer")
        assert Path(python).exists()
        monkeypatch.setattr(environments, "_run", pytest.fail)
        assert Environments(tmp_path / "environments").python("peer") == python


class TestChild:
    @pytest.fixture
    def child(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "echo.py").write_text(ECHO)
        path = f"{environments.ROOT}:{tmp_path}"
        with Child(sys.executable, "echo", variables={"PYTHONPATH": path}) as child:
            yield child

    def test_answers_what_it_is_asked(self, child: Child) -> None:
        assert child.ask("echo", word="a") == "a"
        assert child.ask("echo", word=[1]) == [1]

    def test_what_it_raises_is_told_and_it_goes_on(self, child: Child) -> None:
        with pytest.raises(Failed, match="ValueError: not so"):
            child.ask("fail")
        assert child.ask("echo", word="a") == "a"

    def test_its_end_is_told_with_its_last_words(self, child: Child) -> None:
        with pytest.raises(Failed, match="ended early: gone"):
            child.ask("exit")

    def test_one_that_is_late_is_ended(self, child: Child) -> None:
        with pytest.raises(Failed, match="no answer within"):
            child.ask("sleep", within=0.2, seconds=600)
