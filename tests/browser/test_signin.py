"""Signing in to the dashboard: with a key, for what its role allows, until one signs out or the key is revoked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests import servers
from tests.browser.test_actions import read
from tests.browser.test_pages import open_page
from tests.parts import System, system
from tests.servers import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT_KEY = "geheim-geheim-geheim"


@pytest.fixture(scope="module")
def running() -> Iterator[System]:
    """A system whose operator has a key."""
    with servers.single("valkey") as server, system(server.url, api_key=ROOT_KEY) as started:
        started.api.headers["authorization"] = f"Bearer {ROOT_KEY}"
        yield started


@pytest.fixture
def refusals() -> set[int]:
    """Until somebody is signed in, everything is refused."""
    return {401}


def made(running: System, role: str) -> dict[str, Any]:
    key: dict[str, Any] = running.api.post("/v1/keys", json={"name": "ada", "role": role}).json()
    return key


def waiting(running: System) -> dict[str, Any]:
    """A task that does nothing for an hour."""
    given = {"url": "https://a.example/", "delay_seconds": 3600}
    task: dict[str, Any] = running.api.post("/v1/tasks", json=given).json()
    return task


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def test_somebody_signs_in_acts_and_signs_out(running: System, page: Page) -> None:
    """What is wrong with a key is said; the page that was asked for follows, live; no script can read the key."""
    task, key = waiting(running), made(running, "operator")["key"]
    open_page(page, f"/tasks/{task['id']}")
    sign_in(page, key[:-1])
    page.locator(".problem").get_by_text("not the whole of it").wait_for()
    sign_in(page, key)
    page.get_by_role("button", name="Cancel", exact=True).click()
    until(lambda: "cancelled" == read(running, task["id"])["state"], "the task is cancelled")
    assert [0, ""] == page.evaluate("[sessionStorage.length, document.cookie]")
    open_page(page, "/tail")
    page.get_by_text("Live", exact=True).wait_for()
    open_page(page, "/settings")
    page.get_by_text("Signed in with the key").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("API key").wait_for()
    open_page(page, "/settings")
    page.get_by_label("API key").wait_for()


def test_a_reader_sees_why_actions_are_off(running: System, page: Page) -> None:
    """Buttons and menus name the scope that they need; everything can be looked at."""
    task, key = waiting(running), made(running, "reader")["key"]
    open_page(page, f"/tasks/{task['id']}")
    sign_in(page, key)
    button = page.get_by_role("button", name="Cancel", exact=True)
    button.wait_for()
    assert button.is_disabled()
    assert "The key “ada” may not do this: it needs tasks:write" == button.get_attribute("title")
    page.get_by_role("button", name="Actions", exact=True).first.click()
    assert page.get_by_role("menuitem", name="Run now").is_disabled()
    assert page.get_by_role("menuitem", name="Duplicate").is_enabled()
    open_page(page, "/schedules")
    page.get_by_role("heading", name="Schedules").wait_for()
    page.keyboard.press("n")  # had it opened the dialog, the next key would go there
    page.keyboard.press("?")
    page.get_by_role("heading", name="Keyboard").wait_for()


def test_who_is_shut_out_is_told_why(running: System, page: Page) -> None:
    """A key that is revoked ends the session in an open page."""
    key = made(running, "reader")
    open_page(page, "/queues")
    sign_in(page, key["key"])
    page.get_by_role("heading", name="Queues").wait_for()
    running.api.delete(f"/v1/keys/{key['id']}")
    page.get_by_text("You were signed out: this API key was revoked at").wait_for()
    sign_in(page, ROOT_KEY)
    page.get_by_role("heading", name="Queues").wait_for()
