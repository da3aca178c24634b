"""The strip in a browser: what it shows, when it asks, and what it leaves alone."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from redis_optimizer.health import Status
from redis_optimizer.templatetags import redis_optimizer
from tests.browser.conftest import NOON
from tests.browser.site import Site, staff_cookie
from tests.health.switches import switch
from tests.health.verdicts import REDIS, verdict

pytestmark = pytest.mark.asyncio(loop_scope="session")

MINUTE = 60_000  # ms
SECOND = 1_000


class Strip:
    """The first strip of a page."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.element = page.locator(".health-strip").first
        self.status = self.element.get_by_role("status")

    async def shows(self, text: str, state: str) -> None:
        """Wait until it shows a text; it is then in that state."""
        from playwright.async_api import expect

        await expect(self.status).to_have_text(f"Site status: {text}", timeout=30_000)
        assert await self.element.get_attribute("data-state") == state

    async def asked(self) -> int:
        """Return how often the page has asked so far."""
        return int(await self.page.evaluate("window.asked"))

    async def asks(self, after: float) -> None:
        """Move the clock on: the page asks then, not a second earlier, and takes in the answer.

        Args:
            after: Minutes.
        """
        before = await self.asked()
        await self.page.clock.run_for(after * MINUTE - SECOND)
        assert await self.asked() == before
        await self.asks_during(SECOND)

    async def asks_during(self, time: float) -> None:
        """Move the clock on by some ms: the page asks once, and takes in the answer."""
        before, planned = await self.asked(), await self.planned()
        await self.page.clock.run_for(time)
        assert await self.asked() == before + 1
        await self.plans(planned + 1)

    async def planned(self) -> int:
        """Return how often the page has planned to ask."""
        return int(await self.page.evaluate("window.planned"))

    async def plans(self, number: int) -> None:
        """Wait until the page has planned so often: having taken in an answer, it plans anew."""
        async with asyncio.timeout(60):
            while await self.planned() < number:
                await asyncio.sleep(0.01)

    async def checked_at(self) -> float:
        """Return when, by what it shows, the checks ran last, in seconds since the epoch."""
        text = await self.element.locator("time").get_attribute("datetime")
        return datetime.fromisoformat(text).timestamp()


async def visit(page: Any, site: Site, query: str = "") -> Strip:
    """Open a page with a strip."""
    await page.goto(site.url + query)
    return Strip(page)


class TestWhatItShows:
    async def test_the_page_comes_with_what_is_known(self, page: Any, site: Site) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        await strip.shows("OK", "ok")
        assert await strip.asked() == 0

    async def test_where_nothing_is_known_it_asks_at_once(self, page: Any, site: Site) -> None:
        strip = await visit(page, site)
        await strip.shows("not known yet", "unknown")
        await strip.asks_during(0)
        await strip.shows("OK", "ok")

    async def test_where_the_page_came_with_something_old_it_asks_at_once(
        self, page: Any, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_optimizer, "peek_verdict", lambda **kw: verdict(REDIS, age=301))
        strip = await visit(page, site)
        await strip.shows("out of date, last known: OK", "stale")
        await strip.asks_during(0)
        await strip.shows("OK", "ok")

    async def test_it_follows_the_site(self, page: Any, site: Site) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        for status in (Status.DEGRADED, Status.FAILING, Status.OK):
            switch(status)
            await strip.asks(after=2)
            await strip.shows({"ok": "OK"}.get(status, status), status)

    async def test_staff_read_which_checks_are_not_ok(
        self, context: Any, page: Any, site: Site
    ) -> None:
        await context.add_cookies([staff_cookie()])
        switch(Status.FAILING)
        strip = await visit(page, site)
        await strip.shows("failing: vault", "failing")
        switch(Status.DEGRADED)
        await strip.asks(after=2)
        await strip.shows("degraded: vault", "degraded")
        switch(Status.OK)
        await strip.asks(after=2)
        await strip.shows("OK", "ok")

    @pytest.mark.parametrize("fault", ["an answer of somebody else", "no answer"])
    async def test_it_says_when_it_is_out_of_date(self, page: Any, site: Site, fault: str) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        if fault == "no answer":
            await page.route("**/health/", lambda route: route.abort())
        else:
            site.is_down = True
        await strip.asks(after=2)
        await strip.shows("out of date, last known: OK", "stale")
        site.is_down = False
        await page.unroute_all()
        await strip.asks(after=4)
        await strip.shows("OK", "ok")

    async def test_an_answer_may_be_out_of_date_itself(self, page: Any, site: Site) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        site.age = 301  # s: two and a half intervals, and one
        await strip.asks(after=2)
        await strip.shows("out of date, last known: OK", "stale")

    async def test_it_works_without_javascript(self, browser: Any, site: Site) -> None:
        switch(Status.DEGRADED)
        async with await browser.new_context(java_script_enabled=False) as context:
            page = await context.new_page()
            strip = await visit(page, site)
            await strip.shows("degraded", "degraded")
            await strip.element.get_by_text("Details").click()
            await strip.element.get_by_role("link").click()
            assert '"status": "degraded"' in await page.inner_text("body")


class TestWhenItAsks:
    async def test_a_304_keeps_the_state_and_says_how_old_it_is(
        self, page: Any, site: Site
    ) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        await strip.asks(after=2)
        site.age = 50  # s
        await strip.asks(after=2)
        await strip.shows("OK", "ok")
        first, second = site.exchanges
        assert (first.status, first.if_none_match) == ("200 OK", None)
        assert second.status == "304 Not Modified"
        assert second.if_none_match
        assert await strip.checked_at() == NOON + 4 * 60 - 50

    async def test_it_does_not_ask_all_at_once_with_others(self, page: Any, site: Site) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        await page.evaluate("window.luck = 0")
        await strip.asks(after=2)
        await page.evaluate("window.luck = 1")
        await strip.asks(after=1.8)
        await strip.asks(after=2.2)

    async def test_it_asks_less_often_while_it_gets_no_answer(self, page: Any, site: Site) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        site.is_down = True
        for minutes in (2, 4, 8, 15, 15):
            await strip.asks(after=minutes)
        site.is_down = False
        await strip.asks(after=15)
        await strip.asks(after=2)

    async def test_a_bad_answer_is_an_answer(self, page: Any, site: Site) -> None:
        switch(Status.FAILING)
        strip = await visit(page, site)
        await strip.asks(after=2)
        await strip.asks(after=2)
        assert [exchange.status[:3] for exchange in site.exchanges] == ["503", "503"]

    async def test_a_hidden_page_asks_nothing_and_catches_up(self, page: Any, site: Site) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        await turn(page, hidden=True)
        await page.clock.run_for(60 * MINUTE)
        assert await strip.asked() == 0
        await turn(page, hidden=False)
        # Before it knows better, it does not pretend to.
        await strip.shows("out of date, last known: OK", "stale")
        await strip.asks_during(0)
        await strip.shows("OK", "ok")
        await strip.asks(after=2)

    async def test_a_page_that_was_hidden_for_a_moment_keeps_its_time(
        self, page: Any, site: Site
    ) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        await page.clock.run_for(MINUTE)
        await turn(page, hidden=True)
        await page.clock.run_for(MINUTE / 2)
        await turn(page, hidden=False)
        await strip.asks(after=0.5)

    async def test_after_a_sleep_of_the_computer_it_asks_soon(self, page: Any, site: Site) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        await page.clock.set_system_time(NOON + 3600)  # the timers have slept, too
        site.is_down = True
        await strip.asks_during(16 * SECOND)
        await strip.shows("out of date, last known: OK", "stale")

    async def test_a_clock_that_is_set_back_does_not_silence_it(
        self, page: Any, site: Site
    ) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        await page.clock.set_system_time(NOON - 24 * 3600)
        await turn(page, hidden=True)
        await turn(page, hidden=False)
        await strip.shows("out of date, last known: OK", "stale")
        await strip.asks(after=2)
        await strip.shows("OK", "ok")

    @pytest.mark.parametrize("event", ["online", "pageshow"])
    async def test_what_failed_is_tried_again_when_the_network_or_the_page_is_back(
        self, page: Any, site: Site, event: str
    ) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        again = f"window.dispatchEvent(new Event('{event}'))"
        await page.evaluate(again)  # nothing has failed
        site.is_down = True
        await strip.asks(after=2)
        site.is_down = False
        await page.evaluate(again)
        await strip.asks_during(0)
        await strip.shows("OK", "ok")

    async def test_a_strip_that_is_gone_asks_nothing(self, page: Any, site: Site) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        await page.evaluate("document.querySelector('.health-strip').remove()")
        await page.clock.run_for(60 * MINUTE)
        assert await strip.asked() == 0

    async def test_nor_does_one_that_went_while_it_asked(self, page: Any, site: Site) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        released = asyncio.Event()

        async def hold(route: Any) -> None:
            await released.wait()
            await route.continue_()

        await page.route("**/health/", hold)
        await page.clock.run_for(2 * MINUTE)
        await page.evaluate("document.querySelector('.health-strip').remove()")
        await page.clock.run_for(20 * SECOND)
        async with page.expect_response("**/health/"):
            released.set()
        await page.clock.run_for(60 * MINUTE)
        assert await strip.asked() == 1

    async def test_one_that_takes_its_place_asks_alone(self, page: Any, site: Site) -> None:
        # As frameworks do that replace the page without loading it, and run its scripts again.
        switch(Status.OK)
        strip = await visit(page, site)
        await page.evaluate(
            """() => new Promise((done) => {
              const strip = document.querySelector(".health-strip");
              strip.replaceWith(strip.cloneNode(true));
              const script = document.createElement("script");
              script.src = document.querySelector("script[src*=health_strip]").src;
              script.onload = done;
              document.body.append(script);
            })"""
        )
        await page.clock.run_for(MINUTE)
        switch(Status.FAILING)
        await strip.asks(after=1)
        await strip.shows("failing", "failing")

    async def test_several_strips_share_one_poll(self, page: Any, site: Site) -> None:
        switch(Status.OK)
        strip = await visit(page, site, "?strips=3")
        switch(Status.FAILING)
        await strip.asks(after=2)
        states = await page.eval_on_selector_all(
            ".health-strip", "strips => strips.map(strip => strip.dataset.state)"
        )
        assert states == ["failing"] * 3


class TestManners:
    async def test_a_strict_policy_is_kept(self, page: Any, site: Site) -> None:
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        switch(Status.OK)
        strip = await visit(page, site)
        await strip.asks(after=2)
        assert await page.evaluate("window.violations") == []
        assert said == []
        sheets = "[...document.styleSheets].map(sheet => sheet.cssRules.length > 0)"
        assert await page.evaluate(sheets) == [True]

    async def test_the_policy_is_in_force(self, page: Any, site: Site) -> None:
        await page.goto(f"{site.url}inline/")
        assert await page.evaluate("window.violations") == ["script-src-elem"]

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("state", [*Status, "stale", "unknown"])
    async def test_axe_finds_nothing(self, page: Any, site: Site, state: str, scheme: Any) -> None:
        from axe_playwright_python.async_playwright import Axe

        await page.emulate_media(color_scheme=scheme)
        if state != "unknown":
            switch(Status.OK if state == "stale" else Status(state))
        strip = await visit(page, site)
        if state == "stale":
            site.is_down = True
            await strip.asks(after=2)
        assert await strip.element.get_attribute("data-state") == state
        await strip.element.get_by_text("Details").click()
        await page.clock.resume()  # axe waits by it
        async with asyncio.timeout(120):
            found = await Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert found.response["passes"]

    async def test_the_admins_theme_wins_over_the_systems(self, page: Any, site: Site) -> None:
        switch(Status.OK)

        async def ground(query: str, scheme: Any) -> str:
            await page.emulate_media(color_scheme=scheme)
            strip = await visit(page, site, query)
            style = "strip => getComputedStyle(strip).backgroundColor"
            return str(await strip.element.evaluate(style))

        light, dark = await ground("", "light"), await ground("", "dark")
        assert light != dark
        assert await ground("?theme=dark", "light") == dark
        assert await ground("?theme=light", "dark") == light
        assert await ground("?theme=auto", "dark") == dark

    async def test_a_keyboard_reaches_the_details(self, page: Any, site: Site) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        link = strip.element.get_by_role("link")
        assert not await link.is_visible()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        assert await link.evaluate("link => link === document.activeElement")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/health/")

    async def test_a_state_is_read_aloud_only_when_it_is_new(self, page: Any, site: Site) -> None:
        switch(Status.OK)
        strip = await visit(page, site)
        await strip.status.evaluate(
            """status => {
              window.read = 0;
              const options = { childList: true, characterData: true, subtree: true };
              new MutationObserver(() => { window.read += 1; }).observe(status, options);
            }"""
        )
        await strip.asks(after=2)
        await strip.asks(after=2)
        assert await page.evaluate("window.read") == 0
        switch(Status.FAILING)
        await strip.asks(after=2)
        assert await page.evaluate("window.read") == 1


async def turn(page: Any, *, hidden: bool) -> None:
    """Hide a page, or show it again, as a browser does with one in a tab."""
    await page.evaluate(
        """hidden => {
          const state = hidden ? "hidden" : "visible";
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )
