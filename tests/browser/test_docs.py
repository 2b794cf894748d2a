"""The contract at /docs in a real browser, from our own files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.parts import System

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_the_contract_is_read_without_any_other_host(running: System, browser: Browser) -> None:
    """
    Operations, what they take and a curl are there; the page asks nobody but the service, and no script of it fails.

    What the viewer writes to its console is left aside: it warns of schemas that are right by JSON Schema.
    """
    context = browser.new_context(base_url=running.url, locale="en-GB")
    page, asked, faults = context.new_page(), list[str](), list[str]()
    page.on("request", lambda one: asked.append(one.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto("/docs")
    for words in ("Submit a task", "curl"):
        page.get_by_text(words, exact=False).first.wait_for()
    context.close()
    assert [] == faults
    assert {urlsplit(running.url).netloc} == {urlsplit(one).netloc for one in asked if one.startswith(("http", "ws"))}
