"""
A browser before a running system: Debian's Chromium, driven by Playwright, with a shop's tasks to look at.

The fact to know: a page that logs an error, breaks its own policy, or throws fails the test that opened it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import servers
from tests.browser import shop
from tests.browser.chromium import browser_at_work
from tests.parts import System, system

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for one in items:
        if HERE in one.path.parents:
            one.add_marker(pytest.mark.full)


@pytest.fixture(scope="module")  # while Playwright is open, no other event loop can run in this process
def browser() -> Iterator[Browser]:
    if not shutil.which("chromium"):
        pytest.fail("the browser's tests need chromium on the PATH: on Debian apt-get install chromium")
    with browser_at_work() as started:
        yield started


@pytest.fixture(scope="module")
def running() -> Iterator[System]:
    """A system with workers that run the shop's handlers."""
    with servers.single("valkey") as server, system(server.url, keep_attempts="all") as started:
        started.start_worker(f"{shop.HANDLERS},workers.demo")
        yield started


@pytest.fixture(scope="module")
def filled(running: System) -> System:
    """With tasks, all of which but the long ones have ended."""
    shop.fill(running.api, rounds=20)
    servers.until(lambda: not active(running, "billing") and not active(running, "mail"), "the quick tasks ended")
    return running


def active(running: System, queue: str) -> int:
    found = running.api.get("/v1/tasks", params={"queue": queue, "state": "queued,running", "limit": 1}).json()
    return len(found["items"]) or int(bool(found["next_cursor"]))


@pytest.fixture
def refusals() -> set[int]:
    """The statuses from 400 on with which the service may answer the page; a test adds what it provokes."""
    return set()


@pytest.fixture
def page(browser: Browser, running: System, refusals: set[int]) -> Iterator[Page]:
    """A new, empty browser window on the system; what it complains of fails the test."""
    context = browser.new_context(base_url=running.url, viewport={"width": 1360, "height": 860}, locale="en-GB")
    context.set_default_timeout(20_000)
    opened = context.new_page()
    complaints: list[str] = []
    refused: list[tuple[int, str]] = []
    opened.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
    opened.on("pageerror", lambda error: complaints.append(str(error.stack or error)))
    opened.on("response", lambda one: refused.append((one.status, one.url)) if one.status >= 400 else None)
    yield opened
    context.close()
    assert [] == complaints
    assert [] == [one for one in refused if one[0] not in refusals]


def is_complaint(said: ConsoleMessage) -> bool:
    """Refusals are looked at as answers: Chromium logs them without saying of what."""
    return said.type in ("error", "warning") and "the server responded with a status of 4" not in said.text
