"""Take the screenshots of the documentation, in the example site.

``python -m tests.browser.screenshots`` runs the site on a server of its own, has a visitor ask for
pages for a minute, and writes PNGs into ``docs/images``. It needs the extra ``browser`` and
Chromium.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

from example_project.demo.client import Client
from tests.demo import ROOT, Demo, running_demo

IMAGES = ROOT / "docs" / "images"
LARGEST = 150_000  # bytes of an image: the documentation must load quickly
WIDTH, HEIGHT = 1100, 1250  # pixels
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run")  # root has no sandbox
PAGE = "/admin/redis_optimizer/overview/"
SECONDS = 60  # of traffic, so that there is something to see in charts of ten seconds' steps
TURN = ("/", "/organisations/1/", "/organisations/2/", "/api/health", "/organisations/3/")


def visit(demo: Demo, seconds: float) -> None:
    """Ask for pages as somebody does who is logged in, and have jobs sent."""
    client = demo.client("demo")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path in TURN:
            client.get(path)
        client.post("/settings/", theme="light", timezone="UTC")
        time.sleep(0.05)  # a visitor, not a load test


def take(demo: Demo, client: Client, directory: Path) -> list[Path]:
    """Take all of them, light, as an administrator sees them."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        url = f"http://127.0.0.1:{demo.port}"
        context = browser.new_context(
            color_scheme="light", viewport={"width": WIDTH, "height": 800}
        )
        context.add_cookies(
            [{"name": name, "value": value, "url": url} for name, value in client.cookies.items()]
        )
        page = context.new_page()
        page.goto(f"{url}{PAGE}")
        page.wait_for_function("document.querySelectorAll('.uplot').length > 0")
        page.locator("#toggle-nav-sidebar").click()  # of Django: it is not what is to be seen
        taken = [shoot(page, directory / "admin.png", height=HEIGHT)]
        page.goto(f"{url}/")
        strip = page.locator(".health-strip")
        strip.locator("summary").click()
        taken.append(shoot(strip, directory / "health-strip.png"))
        browser.close()
    return taken


def shoot(what: Any, path: Path, height: int | None = None) -> Path:
    """Write an image; of a page its upper part."""
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": height}
    part: dict[str, Any] = {"clip": clip, "full_page": True} if height else {}
    what.screenshot(path=path, animations="disabled", **part)
    size = path.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{path} has {size:,} bytes; {LARGEST:,} are the most.")
    return path


def main() -> None:
    """Run the site, and take the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of traffic before")
    parser.add_argument("--to", type=Path, default=IMAGES, metavar="DIR")
    options = parser.parse_args()
    options.to.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as temporary,
        running_demo(Path(temporary) / "files") as demo,
    ):
        print(f"The site runs at {urlsplit(demo.facts['url']).netloc} ...")
        visit(demo, options.seconds)
        for path in take(demo, demo.client("demo"), options.to):
            print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
