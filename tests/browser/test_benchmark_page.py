"""The page of a benchmark: its charts are drawn, from a file and without a network."""

from pathlib import Path
from typing import Any

import pytest

from redis_optimizer.management.benchmark.document import write_document
from redis_optimizer.management.benchmark.growth import command as growth
from redis_optimizer.management.benchmark.growth.report import Curve, Report
from redis_optimizer.management.benchmark.whole import claims
from redis_optimizer.management.benchmark.whole import command as whole
from redis_optimizer.management.benchmark.whole.report import Part, Whole

pytestmark = pytest.mark.asyncio(loop_scope="session")

SETTING = {"server": "Valkey 9", "python": "3.13", "cores": 2}
POINTS = {1000: {"ours": 0.4, "plain": 30.0}, 10_000: {"ours": 0.5, "plain": 31.0}}
CURVES = [Curve(title, "keys", "us", "stay the same", POINTS) for title in ("Hits", "Jobs")]
ROWS = [
    claims.Row(claims.QUEUES, 17, 1.1, "commands for a job"),
    claims.Row(claims.CONNECTIONS, 40, 0, "of a web process"),
]


@pytest.fixture
def report(tmp_path: Path) -> str:
    """Return the address of a report with claims and charts."""
    path = tmp_path / "report.html"
    part = Part("Growth", growth, Report(SETTING, CURVES))
    write_document(path, "all", whole, Whole(ROWS, [part]))
    return path.as_uri()


async def test_charts_are_drawn(browser: Any, report: str) -> None:
    async with await browser.new_context() as context:
        page = await context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(report)
        assert await page.locator(".chart canvas").count() == len(CURVES)
        assert await page.locator(".chart .u-legend").first.inner_text() != ""
        assert (wrong, asked) == ([], [report])


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_on_a_phone(browser: Any, report: str, scheme: Any) -> None:
    from axe_playwright_python.async_playwright import Axe

    async with await browser.new_context(
        color_scheme=scheme, viewport={"width": 360, "height": 800}
    ) as context:
        page = await context.new_page()
        await page.goto(report)
        found = await Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        # Tables and figures scroll in boxes of their own.
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360
