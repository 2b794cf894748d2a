"""Takes a picture of each page of the dashboard, in both themes and on a phone, to be looked at."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests import servers
from tests.browser import shop
from tests.browser.chromium import browser_at_work
from tests.browser.test_pages import PAGES, open_page, places
from tests.parts import System, system

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SIZES = {"wide": {"width": 1360, "height": 900}, "phone": {"width": 390, "height": 844}}
SETTLE_MS = 1500  # charts and sparklines draw a little behind the first answer


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with servers.single("valkey") as server, system(server.url, keep_attempts="all") as running:
        running.start_worker(f"{shop.HANDLERS},workers.demo")
        shop.fill(running.api)
        failed = {"state": "failed", "queue": "billing"}
        servers.until(lambda: bool(running.api.get("/v1/tasks", params=failed).json()["items"]), "some have failed")
        with browser_at_work() as browser:
            take(browser, running, folder)


def take(browser: Browser, running: System, folder: Path) -> None:
    named = {path.strip("/").replace("/", "-") or "overview": path for path in PAGES} | {
        one.replace(" ", "-"): path for one, path in places(running).items()
    }
    for theme, size in (("light", "wide"), ("dark", "wide"), ("light", "phone")):
        context = browser.new_context(
            base_url=running.url,
            viewport=SIZES[size],  # type: ignore[arg-type]
            color_scheme=theme,  # type: ignore[arg-type]
            locale="en-GB",
        )
        page = context.new_page()
        for name, path in named.items():
            open_page(page, path)
            page.wait_for_timeout(SETTLE_MS)
            page.screenshot(path=folder / f"{name}-{theme}-{size}.png")
        context.close()
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
