"""The admin page in a browser, on real traffic: what it shows, when it asks, what it does."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import DEFAULT_DB_ALIAS, connections
from django.test.testcases import LiveServerThread

from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.admin.site import ACTIONS, PAGE, in_force, log_in_as
from tests.browser.test_health_strip import turn
from tests.stats.processes import Reader, readers

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("site")]

SECOND = 1_000  # ms
ADMINS_OWN = [[".breadcrumbs"], ["#nav-sidebar"]]
"""What axe need not look at: Django 5.2 has links there that colours alone tell, or pale ones."""


@pytest.fixture(scope="module")
def processes(server: EmbeddedServer) -> Iterator[list[Reader]]:
    with readers(3) as started:
        yield started


@pytest.fixture(scope="module")
def served(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """Serve the site, in threads that have the tests' database, and return its URL."""
    with django_db_blocker.unblock(), in_force():
        connection = connections[DEFAULT_DB_ALIAS]  # the proxy would look for itself
        connection.inc_thread_sharing()
        thread = LiveServerThread(HOST, StaticFilesHandler, {DEFAULT_DB_ALIAS: connection})
        thread.start()
        thread.is_ready.wait()
        try:
            yield f"http://{HOST}:{thread.port}"
        finally:
            thread.terminate()
            connection.dec_thread_sharing()


@pytest.fixture
def site(served: str, transactional_db: None, processes: list[Reader]) -> str:
    return served


@pytest.fixture
def cookie(site: str) -> dict[str, str]:
    """Return the cookie of a session of somebody who may do everything."""
    return _cookie("view_overview", *ACTIONS.values())


@pytest.fixture
def viewer(site: str) -> dict[str, str]:
    """Return the cookie of somebody who may look."""
    return _cookie("view_overview")


def _cookie(*permissions: str) -> dict[str, str]:
    value = log_in_as(*permissions).cookies[settings.SESSION_COOKIE_NAME].value
    return {"name": settings.SESSION_COOKIE_NAME, "value": value, "domain": HOST, "path": "/"}


class Overview:
    """The page, which asks by a clock that stands still unless it is moved on."""

    def __init__(self, page: Any) -> None:
        self.page = page

    async def text(self, selector: str) -> str:
        return str(await self.page.inner_text(selector))

    async def asked(self) -> int:
        return int(await self.page.evaluate("window.asked"))

    async def hits(self, reader: Reader) -> int:
        """Return how many hits the row of a process shows."""
        row = self.page.locator("tr", has=self.page.get_by_role("cell", name=str(reader.pid)))
        return int((await row.locator("td").nth(3).inner_text()).replace(",", ""))

    async def pass_time(self, ms: int) -> None:
        """Move the clock on; an answer that was asked for by then is taken in."""
        before = await self.asked()
        await self.page.clock.run_for(ms)
        if await self.asked() > before:
            await self.settle()

    async def settle(self) -> None:
        """Wait until what was asked is answered and taken in: the next time is planned then."""
        async with asyncio.timeout(60):
            while await self.page.evaluate("window.planned < window.asked + 1"):
                await asyncio.sleep(0.01)

    async def shows(self, text: str) -> None:
        from playwright.async_api import expect

        await expect(self.page.locator("body")).to_contain_text(text, timeout=15_000)

    async def press(self, name: str) -> None:
        """Press a button by the keyboard."""
        button = self.page.get_by_role("button", name=name).first
        await button.focus()
        await button.press("Enter")


async def visit(page: Any, site: str, cookie: dict[str, str]) -> Overview:
    await page.context.add_cookies([cookie])
    await page.goto(site + PAGE)
    return Overview(page)


@pytest.fixture
def overview(page: Any, site: str, cookie: dict[str, str]) -> Any:
    """Return what opens the page."""
    return lambda: visit(page, site, cookie)


async def _no_processes(route: Any) -> None:
    """Answer as a site does whose Redis is away: its table of processes is empty."""
    found = await (await route.fetch()).json()
    head, _, rest = found["parts"]["processes"].partition("<tbody>")
    found["parts"]["processes"] = (
        head.replace('class="ro-scroll"', 'class="ro-scroll" hidden')
        + "<tbody>"
        + rest[rest.index("</tbody>") :]
    )
    await route.fulfill(json=found)


async def axe(page: Any) -> None:
    from axe_playwright_python.async_playwright import Axe

    await page.clock.resume()  # axe waits by it
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        # The admin's colours change in a moment, not at once.
        async with asyncio.timeout(120):
            while await page.evaluate("document.getAnimations().length"):
                await asyncio.sleep(0.05)
            found = await Axe().run(page, context={"exclude": ADMINS_OWN})
        assert found.violations_count == 0, found.generate_report()


class TestWhatItShows:
    async def test_all_of_it_is_there_and_keeps_the_policy(
        self, overview: Any, page: Any, processes: list[Reader]
    ) -> None:
        shown = await overview()
        for reader in processes:
            assert await shown.hits(reader) >= 100
        assert await shown.text(".ro-tile:nth-child(2) .ro-value") != "-"
        assert await page.locator(".ro-chart canvas").count() == 3
        await shown.pass_time(5 * SECOND)
        assert await page.evaluate("window.violations") == []

    async def test_axe_finds_nothing(self, overview: Any, page: Any) -> None:
        shown = await overview()
        await page.get_by_text("The same as a table").click()
        await axe(page)
        await shown.press("Switch cache off")
        await page.wait_for_url("**/switch-off/")
        await axe(page)

    async def test_a_phone_scrolls_tables_and_not_the_page(self, overview: Any, page: Any) -> None:
        await page.set_viewport_size({"width": 360, "height": 740})
        await overview()
        await page.get_by_text("The same as a table").click()
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        main = "document.querySelector('#content-start').scrollWidth"
        assert await page.evaluate(main) <= 360

    async def test_it_works_without_javascript(
        self, browser: Any, site: str, cookie: dict[str, str], processes: list[Reader]
    ) -> None:
        async with await browser.new_context(java_script_enabled=False) as context:
            page = await context.new_page()
            shown = await visit(page, site, cookie)
            assert await shown.hits(processes[0]) >= 100
            await page.get_by_role("link", name="Refresh").click()
            await page.get_by_role("button", name="Clear what all processes keep").click()
            await shown.shows("What processes keep was cleared")

    async def test_who_may_only_look_has_no_buttons(
        self, page: Any, site: str, viewer: dict[str, str], processes: list[Reader]
    ) -> None:
        shown = await visit(page, site, viewer)
        assert await shown.hits(processes[0]) >= 100
        assert await page.locator("#ro-page button").count() == 0


class TestRefreshes:
    async def test_numbers_change_and_the_cost_is_told(
        self, overview: Any, page: Any, processes: list[Reader]
    ) -> None:
        shown = await overview()
        before = await shown.hits(processes[0])
        processes[0].hit(1000)
        await shown.pass_time(4 * SECOND)
        assert await shown.asked() == 0
        await shown.pass_time(SECOND)
        assert await shown.asked() == 1
        assert await shown.hits(processes[0]) == before + 1000
        cost = await shown.text("#ro-cost")
        assert cost == "This refresh cost 7 commands. So far: 14."

    async def test_rates_are_by_the_clock_of_the_server(self, overview: Any, page: Any) -> None:
        async def later(route: Any) -> None:
            found = await (await route.fetch()).json()
            found["parts"]["servers"] = before.replace('data-at="', 'data-at="1').replace(
                f'data-calls="{calls}"', f'data-calls="{calls + 5_000_000_000}"'
            )
            await route.fulfill(json=found)

        shown = await overview()
        section = page.locator("[data-part=servers] section")
        before = await page.locator("[data-part=servers]").inner_html()
        at = float(await section.get_attribute("data-at"))
        calls = int(await section.locator(".ro-facts .ro-rate").get_attribute("data-calls"))
        seconds = float(f"1{at:.6f}") - at
        await page.route("**/data/", later)
        await shown.pass_time(5 * SECOND)
        assert await shown.text(".ro-facts .ro-rate") == f"{5_000_000_000 / seconds:.1f}/s"

    async def test_who_is_gone_was_last_seen(
        self, overview: Any, page: Any, processes: list[Reader]
    ) -> None:
        shown = await overview()
        told = await shown.text("#ro-updated")
        with readers(1) as (other,):
            await shown.pass_time(5 * SECOND)
            row = page.locator("tr", has=page.get_by_role("cell", name=str(other.pid), exact=True))
            assert "Last seen" not in await row.inner_text()
            told = (await shown.text("#ro-updated")).removeprefix("Updated ")
            other.freeze()
            await shown.pass_time(5 * SECOND)
            # It says more than the server knows of a process that does not answer.
            assert f"Did not answer. Last seen {told}." in await row.inner_text()
            assert await page.locator("tr[data-pid]").count() == 0
        await page.route("**/data/", _no_processes)
        await shown.pass_time(5 * SECOND)
        names = await page.locator("[data-part=processes] tbody tr").all_inner_texts()
        assert len(names) == len(processes) + 1
        assert all("Last seen" in name for name in names)
        await page.unroute_all()
        await shown.pass_time(5 * SECOND)
        assert await page.locator(".ro-silent").count() == 1
        await shown.pass_time(5 * SECOND)
        assert f"Last seen {told}." in await row.inner_text()

    async def test_times_are_those_of_the_site(
        self, browser: Any, site: str, cookie: dict[str, str]
    ) -> None:
        async with await browser.new_context(timezone_id="Asia/Kolkata") as context:
            page = await context.new_page()
            shown = await visit(page, site, cookie)
            at = float(await page.get_attribute("#ro-page", "data-at"))
            await page.get_by_role("link", name="Refresh").click()
            await shown.shows("So far: ")
            zone = ZoneInfo(settings.TIME_ZONE)
            times = [datetime.fromtimestamp(at + late, zone) for late in range(60)]
            told = await shown.text("#ro-updated")
            assert told in {f"Updated {time:%-I:%M:%S %p}" for time in times}
            assert f"({settings.TIME_ZONE})" in await shown.text("#ro-hour")

    async def test_the_interval_is_chosen_and_remembered(self, overview: Any, page: Any) -> None:
        shown = await overview()
        await page.select_option("#ro-interval", "2")
        await shown.pass_time(2 * SECOND)
        assert await shown.asked() == 1
        shown = await overview()
        assert await page.input_value("#ro-interval") == "2"
        await page.select_option("#ro-interval", "0")
        await shown.pass_time(600 * SECOND)
        assert await shown.asked() == 0
        await page.get_by_role("link", name="Refresh").click()
        async with asyncio.timeout(30):
            while "So far: 14" not in await shown.text("#ro-cost"):
                await asyncio.sleep(0.01)

    async def test_a_hidden_page_asks_nothing(self, overview: Any, page: Any) -> None:
        shown = await overview()
        await turn(page, hidden=True)
        await shown.pass_time(60 * SECOND)
        assert await shown.asked() == 0
        await turn(page, hidden=False)
        await shown.pass_time(1)
        assert await shown.asked() == 1

    async def test_it_asks_less_often_while_it_gets_no_answer_and_says_so(
        self, overview: Any, page: Any
    ) -> None:
        shown = await overview()
        await page.route("**/data/", lambda route: route.abort())
        await shown.pass_time(5 * SECOND)
        assert "Next try in 10 s" in await shown.text("#ro-trouble")
        await shown.pass_time(9 * SECOND)
        assert await shown.asked() == 1
        await shown.pass_time(SECOND)
        assert "Next try in 20 s" in await shown.text("#ro-trouble")
        await page.unroute_all()
        await shown.pass_time(20 * SECOND)
        assert await shown.text("#ro-trouble") == ""
        await page.select_option("#ro-interval", "0")
        await page.route("**/data/", lambda route: route.abort())
        await page.get_by_role("link", name="Refresh").click()
        await shown.shows("The site does not answer")
        assert "Next try" not in await shown.text("#ro-trouble")

    async def test_it_never_asks_twice_at_once(self, overview: Any, page: Any) -> None:
        shown = await overview()
        held: list[Any] = []
        await page.route("**/data/", lambda route: held.append(route))
        await page.clock.run_for(5 * SECOND)
        await page.clock.run_for(20 * SECOND)
        await page.get_by_role("link", name="Refresh").click()
        assert await shown.asked() == 1
        await held[0].abort()

    async def test_who_is_logged_out_is_told(self, overview: Any, page: Any) -> None:
        shown = await overview()
        await page.context.clear_cookies()
        await page.clock.run_for(5 * SECOND)
        await shown.shows("You are logged out")
        await page.clock.run_for(60 * SECOND)
        assert await shown.asked() == 1

    async def test_the_focus_stays(self, overview: Any, page: Any, processes: list[Reader]) -> None:
        shown = await overview()
        name = f"Clear what process {processes[1].pid} keeps"
        await page.get_by_role("button", name=name).focus()
        await page.locator("#ro-history summary").evaluate("it => { it.parentNode.open = true }")
        processes[0].hit(1000)
        await shown.pass_time(5 * SECOND)
        focused = "document.activeElement.getAttribute('aria-label')"
        assert await page.evaluate(focused) == name
        assert await page.evaluate("document.querySelector('#ro-history').open")


class TestActions:
    async def test_one_process_forgets(
        self, overview: Any, page: Any, processes: list[Reader]
    ) -> None:
        shown = await overview()
        processes[0].do("cache.set('kept', 1); cache.get('kept')")
        await shown.press(f"Clear what process {processes[0].pid} keeps")
        await shown.shows(f"pid {processes[0].pid} on")
        processes[0].do("assert cache.stats()['valid_entries'] == 0")

    async def test_a_cache_is_cleared_after_a_question(
        self, overview: Any, page: Any, processes: list[Reader]
    ) -> None:
        shown = await overview()
        processes[0].do("cache.set('kept', 1)")
        await shown.press("Clear “default” in Redis")
        await shown.shows("It cannot be undone")
        await page.get_by_role("link", name="No, take me back").click()
        await page.wait_for_url(f"**{PAGE}")
        processes[0].do("assert cache.get('kept') == 1")
        await shown.press("Clear “default” in Redis")
        await shown.press("Yes, clear the cache")
        await shown.shows("The cache “default” was cleared")
        processes[1].do("assert cache.get('kept') is None")

    async def test_a_part_is_switched_off_and_on(
        self, overview: Any, page: Any, processes: list[Reader]
    ) -> None:
        shown = await overview()
        await shown.press("Switch cache off")
        await shown.press("Yes, switch it off")
        await shown.shows("The part “cache” is switched off, since ")
        await shown.shows("by ann")
        await shown.press("Switch it on")
        await shown.shows("The part “cache” was switched on")
        assert await page.locator(".ro-banner").count() == 0

    async def test_results_are_pruned_after_a_question(
        self, overview: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from redis_optimizer.tasks import prune_places
        from redis_optimizer.tasks.prune import Report

        report = Report("redis://somewhere/0", seen=7)
        found = [lambda **arguments: report]
        monkeypatch.setattr(prune_places, "find_places", lambda app: found)
        shown = await overview()
        await shown.press("Prune results")
        await shown.press("Yes, prune results")
        await shown.shows("redis://somewhere/0: 7 looked at, 0 found to go")

    async def test_buffered_jobs_are_sent(
        self, overview: Any, page: Any, processes: list[Reader]
    ) -> None:
        for reader in processes:
            reader.do("import redis_optimizer.tasks.batching")
        shown = await overview()
        await shown.press("Send buffered jobs now")
        await shown.shows("Buffered jobs were sent")
        await shown.shows(f"pid {processes[0].pid} on")
