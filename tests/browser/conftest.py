"""Chromium, driven by Playwright. Without it these tests are skipped; where CI is set they fail."""

import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from redis_optimizer.health import Status
from tests.browser.site import SETTINGS, Site, serving
from tests.health.switches import set_status
from tests.missing import go_without

FLAGS = [
    "--no-sandbox",  # root has none
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
NOON = 1_790_000_000  # where the page's clock stands at first, in seconds since the epoch

# Counts what the page asks for and plans, at the moment that it does, and keeps what breaks the
# policy. Luck is what a test says: with 0.5 a delay is as long as it is meant to be.
WATCH = """
Object.assign(window, { luck: 0.5, asked: 0, planned: 0, violations: [] });
Math.random = () => window.luck;
const { fetch } = window;
window.fetch = (...args) => { window.asked += 1; return fetch(...args); };
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(event.violatedDirective);
});
// Before the page's own scripts, and after the test's clock is in place.
document.addEventListener("readystatechange", () => {
  const { setTimeout } = window;
  window.setTimeout = (...args) => { window.planned += 1; return setTimeout(...args); };
}, { once: true });
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Any]:
    """Run one Chromium for all tests of a process."""
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        go_without("Playwright is not installed: it comes with the extra [browser]")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        go_without("Chromium is not installed: apt-get install chromium")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=chromium, args=FLAGS, timeout=60_000
        )
        yield launched
        await launched.close()


@pytest.fixture
def site(settings: Any) -> Iterator[Site]:
    """Serve the site with the strip."""
    for name, value in SETTINGS.items():
        setattr(settings, name, value)
    set_status(Status.OK)  # nothing is known yet: the settings are new
    with serving() as site:
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Any) -> AsyncIterator[Any]:
    """Yield a browser's context: cookies and a cache of its own."""
    async with await browser.new_context() as context:
        context.set_default_timeout(30_000)
        yield context


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: Any) -> Any:
    """Return a page whose clock stands still unless it is moved on."""
    page = await context.new_page()
    await page.add_init_script(WATCH)
    await page.clock.install(time=NOON - 1)
    await page.clock.pause_at(NOON)
    return page
