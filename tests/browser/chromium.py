"""Starts the system's Chromium as tests and screenshots need it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--lang=en-GB",
]  # fmt: skip


@contextmanager
def browser_at_work() -> Iterator[Browser]:
    """A headless browser with a profile of its own, which ends with the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A POSIX locale breaks the charts' numbers.
        started = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=FLAGS, env={"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        )
        try:
            yield started
        finally:
            started.close()
