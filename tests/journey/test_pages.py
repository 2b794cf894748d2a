"""
Every block of the README and of docs/ that can run does run, page by page, each before a living system of its own.

A page that a reader follows by the letter works: each command is accepted, each request answered below 400, each
program ends without an error. tests/pages.py says how a block that cannot run is marked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.pages import PAGES, ROOT, SHOWN_WORKER, Desk, blocks, unlike
from tests.parts import System, system

pytestmark = pytest.mark.full
KEY = "the-key-of-these-pages"
# What the page by symptom says is of use only to those who have the symptom: test_runbook.py follows it.
FOLLOWED = [page for page in PAGES if page.stem != "runbook" and any(block.is_run for block in blocks(page))]


@pytest.fixture
def running() -> Iterator[System]:
    """New for each page, which may pause queues; with the demo and with handlers that pages name."""
    with servers.single("valkey", appendonly="yes") as server, system(server.url, api_key=KEY) as started:
        started.api.headers["authorization"] = f"Bearer {KEY}"
        started.start_worker("workers.demo,tests.journey.named")
        yield started


@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_can_be_followed_by_the_letter(running: System, page: Path, tmp_path: Path) -> None:
    """Whoever copies block after block meets no error, and sees what the page says that is printed."""
    part = None
    if SHOWN_WORKER in page.read_text():
        before = {one["id"] for one in running.workers()}
        part = running.start_worker()
        (worker,) = {one["id"] for one in running.workers()} - before
    env = {"TASKPOST_API_KEY": KEY, "REDIS_URL": running.redis_url, "TASKPOST_DEV": "1"}
    desk = Desk(tmp_path, running.url, worker if part else "", **env)
    printed = ""
    try:
        for block in blocks(page):
            if block.is_run:
                try:
                    printed = desk.follow(block)
                except AssertionError as exc:
                    pytest.fail(f"{page.name}:{block.line}: {exc}", pytrace=False)
            elif block.word == "printed":
                assert [] == unlike(block.text, printed), f"{page.name}:{block.line}: printed was\n{printed}"
    finally:
        desk.leave()
        if part:
            part.close()
