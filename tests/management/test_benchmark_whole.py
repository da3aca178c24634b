"""The benchmark as a whole: the table of claims, the page of HTML, a project's own subject."""

import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils.translation import override

from redis_optimizer.management.benchmark import subjects
from redis_optimizer.management.benchmark.cache import command as cache
from redis_optimizer.management.benchmark.chart import Chart
from redis_optimizer.management.benchmark.document import write_document
from redis_optimizer.management.benchmark.endpoints.report import Report as EndpointsReport
from redis_optimizer.management.benchmark.endpoints.report import Row as EndpointsRow
from redis_optimizer.management.benchmark.growth import command as growth
from redis_optimizer.management.benchmark.growth.report import Curve
from redis_optimizer.management.benchmark.growth.report import Report as GrowthReport
from redis_optimizer.management.benchmark.jobs import command as jobs
from redis_optimizer.management.benchmark.jobs.report import Figures
from redis_optimizer.management.benchmark.jobs.report import Report as JobsReport
from redis_optimizer.management.benchmark.jobs.traffic import Sent
from redis_optimizer.management.benchmark.whole import claims
from redis_optimizer.management.benchmark.whole import command as whole
from redis_optimizer.management.benchmark.whole.claims import CLAIMS, Row, tabulate
from redis_optimizer.management.benchmark.whole.report import Part, Whole

SETTINGS = "tests.management.polled"
SETTING = {"server": "Valkey 9", "python": "3.13", "cores": 2}  # of growth


def sent(commands: int, queued: int = 0) -> Sent:
    """Return what 10 jobs cost."""
    none: Counter[str] = Counter()
    return Sent(10, Counter(LPUSH=commands), none, none, commands, none, queued=queued)


class TestClaims:
    def test_is_exceeded_by_more_than_was_claimed(self) -> None:
        claim = claims.API  # 60 to 80 %
        assert Row(claim, 100, 10, "").holds
        assert not Row(claim, 100, 20, "").holds
        assert Row(claim, 100, 25, "").saved == 75

    def test_of_all_duplicates_is_met_by_none(self) -> None:
        assert Row(claims.DUPLICATES, 100, 0, "").holds
        assert not Row(claims.DUPLICATES, 100, 1, "").holds

    def test_holds_for_nothing_where_nothing_could_be_saved(self) -> None:
        row = Row(claims.QUEUES, 0, 0, "")
        assert row.saved is None
        assert not row.holds

    def test_is_held_against_what_jobs_cost(self) -> None:
        plain = Figures(sent={claims.KEPT: sent(170), claims.DUPLICATE: sent(30, 10)}, web=40)
        ours = Figures(sent={claims.KEPT: sent(11), claims.DUPLICATE: sent(10, 0)}, web=14)
        setting = {"threads": 8, "batch_size": 100}
        rows = list(claims.hold_jobs(JobsReport(setting, plain, ours, {})))
        assert [(row.claim, row.plain, row.ours) for row in rows] == [
            (claims.QUEUES, 17, 1.1),
            (claims.DUPLICATES, 10, 0),
            (claims.CONNECTIONS, 40, 14),
        ]

    def test_is_held_against_what_endpoints_cost(self) -> None:
        def row(commands: int) -> EndpointsRow:
            return EndpointsRow("", Counter(GET=commands), Counter(), 0, {}, {})

        report = EndpointsReport({"requests": 1000}, [row(220), row(280), row(2)])
        (found,) = claims.hold_endpoints(report, claims.HEALTH)
        assert (found.claim, found.plain, found.ours) == (claims.HEALTH, 220, 2)

    def test_has_a_line_without_a_figure_too(self) -> None:
        head, *lines = tabulate([Row(claims.QUEUES, 17, 1.1, "commands")])
        assert len(lines) == len(CLAIMS)
        assert "claimed" in head
        assert "93.5 %" in lines[0]
        assert lines[0].endswith("commands")
        assert all(line.endswith("not measured") for line in lines[1:])


class Page(HTMLParser):
    """What a page needs, and what it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.needs: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.needs += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


class Drawn:
    """A report with a chart."""

    def as_dict(self) -> dict[str, Any]:
        return {"figure": "<1>"}

    def charts(self) -> list[Chart]:
        return [Chart("Cost </script>", "keys", "us", [1, 10], {"ours": [0.5, None]})]


class Fake(ModuleType):
    """A subject that measures nothing."""

    NAME, HELP, BOUNDS = "fake", "measure nothing", {"seconds": (1, 5)}

    @staticmethod
    def add_arguments(parser: Any) -> None:
        parser.add_argument("--seconds", type=float, default=2)

    @staticmethod
    def run(options: dict[str, Any], stream: Any) -> Drawn:
        return Drawn()

    @staticmethod
    def render(report: Drawn) -> str:
        return "1 < 2"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Have an installed app measure something of its own."""
    fake = Fake("fake")
    monkeypatch.setattr(
        subjects, "module_has_submodule", lambda module, name: module.__name__ == "redis_optimizer"
    )
    monkeypatch.setattr(subjects, "import_module", lambda name: fake)
    return fake


class TestDocument:
    def test_needs_nothing_else(self, tmp_path: Path, fake: Fake) -> None:
        path = tmp_path / "report.html"
        write_document(path, "fake", fake, Drawn())
        page = Page(path.read_text())
        assert page.needs == []
        assert "1 < 2" in page.texts  # escaped in the source
        assert "uPlot" in path.read_text()

    def test_text_cannot_end_its_script(self, tmp_path: Path, fake: Fake) -> None:
        path = tmp_path / "report.html"
        write_document(path, "fake", fake, Drawn())
        found = path.read_text()
        assert "Cost </script>" not in found
        assert "Cost &lt;/script&gt;" in found

    def test_is_in_english_on_a_site_that_is_not(self, tmp_path: Path, fake: Fake) -> None:
        path = tmp_path / "report.html"
        row = Row(claims.QUEUES, 1234.5, 411.5, "commands")
        with override("de"):
            write_document(path, "all", whole, Whole([row], [Part("Fake", fake, Drawn())]))
        found = path.read_text()
        assert "1,234.50" in found
        assert re.findall(r'style="width: (.*?)"', found) == ["100.00%", "33.33%"]

    def test_has_a_line_for_what_was_not_measured(self, tmp_path: Path) -> None:
        path = tmp_path / "report.html"
        write_document(path, "all", whole, Whole([Row(claims.QUEUES, 17, 1.1, "commands")], []))
        assert Page(path.read_text()).texts.count("not measured") == len(CLAIMS) - 1

    def test_draws_no_chart_of_a_single_point(self, tmp_path: Path, fake: Fake) -> None:
        path = tmp_path / "report.html"
        curve = Curve("Hits", "keys", "us", "stay the same", {1000: {"ours": 0.4}})
        write_document(path, "growth", growth, GrowthReport(SETTING, [curve]))
        assert "<figure>" not in path.read_text()

    def test_is_written_by_the_command(self, tmp_path: Path, fake: Fake) -> None:
        path = tmp_path / "report.html"
        out = io.StringIO()
        call_command("redis_optimizer_benchmark", "fake", f"--html={path}", stdout=out)
        assert out.getvalue() == "1 < 2\n"
        assert "1 &lt; 2" in path.read_text()

    def test_is_refused_before_anything_is_measured(
        self, tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Fake, "run", None)
        with pytest.raises(CommandError, match="there is no directory"):
            call_command("redis_optimizer_benchmark", "fake", f"--html={tmp_path}/not/there.html")


def test_what_a_project_lacks_is_said_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.ROOT_URLCONF = "django.contrib.auth.urls"  # has no health/
    monkeypatch.setattr(cache, "run", None)
    monkeypatch.setattr(jobs, "run", None)
    with pytest.raises(CommandError, match="Which endpoint"):
        call_command("redis_optimizer_benchmark", "all", verbosity=0)


class TestProject:
    def test_an_installed_app_adds_a_subject(self, fake: Fake) -> None:
        out = io.StringIO()
        call_command("redis_optimizer_benchmark", "fake", json=True, stdout=out)
        assert json.loads(out.getvalue()) == {"figure": "<1>"}

    def test_its_numbers_are_checked(self, fake: Fake) -> None:
        with pytest.raises(CommandError, match="--seconds must lie between 1 and 5, not 9"):
            call_command("redis_optimizer_benchmark", "fake", seconds=9)

    @pytest.mark.parametrize("name", ["cache", "all", None])
    def test_its_name_must_be_its_own(self, fake: Fake, name: str | None) -> None:
        fake.NAME = name  # type: ignore[assignment]
        with pytest.raises(CommandError, match=f"redis_optimizer_benchmark: set NAME .*{name!r}"):
            call_command("redis_optimizer_benchmark", "fake")

    def test_options_that_are_not_given_have_their_defaults(self) -> None:
        assert subjects.default_options(cache)["processes"] == 4


@pytest.mark.slow
def test_all_measures_every_subject_and_holds_it_against_the_claims(
    monkeypatch: pytest.MonkeyPatch, fake: Fake, tmp_path: Path
) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", SETTINGS)
    out = io.StringIO()
    page = tmp_path / "report.html"
    call_command(
        "redis_optimizer_benchmark",
        "all",
        "--path=/kept/",
        "--health-path=/told/",
        f"--html={page}",
        stdout=out,
        json=True,
        verbosity=0,
        host="polled.example",
        requests=400,
        jobs=20,
        clients=5,
        interval=0.2,
        seconds=1,
    )
    report = json.loads(out.getvalue())
    assert list(report["parts"]) == ["Health checks", "API", "Fake", "Cache", "Jobs"]
    rows = {row["claim"]: row for row in report["claims"]}
    assert list(rows) == [claim.title for claim in CLAIMS]
    assert (rows["API commands"]["plain"], rows["API commands"]["optimized"]) == (25, 1)
    assert rows["duplicate jobs"]["optimized"] == 0
    for claim in ("queue commands", "duplicate jobs", "health checks"):
        assert rows[claim]["exceeded"], rows[claim]
    assert rows["connections"]["optimized"] < rows["connections"]["plain"]
    found = report["parts"]["Jobs"]
    assert (found["idle"], found["ours"]["stop"]) == ({}, None)  # no claim is made of them
    shown = Page(page.read_text()).texts
    assert {"Six claims", "queue commands", "Cache", "Jobs", "Fake"} <= set(shown)
