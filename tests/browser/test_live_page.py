"""The page that visitors see, on another origin than the API: a task's progress by a read token, in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests import servers
from tests.running import taskpost

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EXAMPLES = Path(__file__).parents[2] / "examples"
DEADLINE_MS = 30_000
MOVES = "document.getElementById('bar').value > 0 && document.getElementById('state').textContent === 'running'"
ENDED = "['succeeded', 'failed'].includes(document.getElementById('state').textContent)"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def website() -> Iterator[str]:
    """The examples as a site of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(EXAMPLES)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with website() as url:
        yield url


@pytest.fixture(scope="module")
def api(site: str) -> Iterator[str]:
    """An API that asks for a key and lets pages of *site* in."""
    with taskpost("web", "worker", api_key="secret", cors_origins=site) as url:
        yield url


def submitted(api: str, name: str, args: dict[str, Any], **options: Any) -> tuple[str, str]:
    """Id of a task, and the whole URL of its events, as a server makes them for a visitor."""
    from service.client import Taskpost

    with Taskpost(api, "secret") as client:
        task = client.submit(name, args, **options)
        return task.id, api + client.read_token(task).events_url


def opened(browser: Browser, site: str, events: str) -> tuple[Page, list[str]]:
    """The page, and the URLs that it asked for."""
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site}/live.html?events={quote(events, safe='')}")
    return page, asked


def test_the_page_shows_progress_and_the_end(browser: Browser, site: str, api: str) -> None:
    """The bar moves while the task runs and is full at its end; then the browser asks no more."""
    _, events = submitted(api, "demo.progress", {"steps": 50})
    page, asked = opened(browser, site, events)
    page.wait_for_function(MOVES, timeout=DEADLINE_MS)
    page.wait_for_function(ENDED, timeout=DEADLINE_MS)
    assert "succeeded" == page.text_content("#state")
    assert 50 == page.evaluate("document.getElementById('bar').value")
    assert "step 50 of 50" == page.text_content("#message")
    # After the end the browser comes once more, is answered 204, and gives up.
    servers.until(lambda: page.evaluate("events.readyState") == 2, "the browser has given up")
    assert 2 == sum("/events?token=" in url for url in asked)
    page.close()


def test_the_page_comes_back_after_the_connection_broke(browser: Browser, site: str, api: str) -> None:
    """Off the network and on again: what it shows is what is."""
    _, events = submitted(api, "demo.progress", {"steps": 50})
    page, _ = opened(browser, site, events)
    page.wait_for_function(MOVES, timeout=DEADLINE_MS)
    page.context.set_offline(True)
    page.context.set_offline(False)
    page.wait_for_function(ENDED, timeout=DEADLINE_MS)
    assert "succeeded" == page.text_content("#state")
    page.close()


def test_a_failure_is_shown(browser: Browser, site: str, api: str) -> None:
    """With its message."""
    _, events = submitted(api, "demo.flaky", {"fail_times": 9}, retries=0)
    page, _ = opened(browser, site, events)
    page.wait_for_function(ENDED, timeout=DEADLINE_MS)
    assert "failed" == page.text_content("#state")
    assert page.text_content("#message")
    page.close()


def test_a_page_that_is_not_allowed_sees_nothing(browser: Browser, api: str) -> None:
    """Neither by Server-Sent Events nor by a WebSocket, although it has a token."""
    _, events = submitted(api, "demo.progress", {"steps": 1})
    with website() as other:
        page, _ = opened(browser, other, events)
        page.wait_for_function("events.readyState === 2", timeout=DEADLINE_MS)
        assert "connecting" == page.text_content("#state")
        page.close()


WEB_SOCKET = """
url => new Promise((resolve) => {
  const seen = [], socket = new WebSocket(url);
  socket.onmessage = ({ data }) => seen.push(JSON.parse(data));
  socket.onclose = ({ code }) => resolve({ code, seen });
})
"""


def test_a_browser_follows_over_a_web_socket_too(browser: Browser, site: str, api: str) -> None:
    """To the end of the task; a page of another origin is refused."""
    id_, events = submitted(api, "demo.progress", {"steps": 3})
    page = browser.new_page()
    page.goto(f"{site}/live.html")
    told = page.evaluate(WEB_SOCKET, events.replace("http", "ws", 1))
    assert 1000 == told["code"]
    assert (id_, "succeeded") == (told["seen"][-1]["data"]["id"], told["seen"][-1]["data"]["state"])
    assert 3 == told["seen"][-1]["data"]["progress"]["current"]
    with website() as other:
        page.goto(f"{other}/live.html")
        assert {"code": 1006, "seen": []} == page.evaluate(WEB_SOCKET, events.replace("http", "ws", 1))
    page.close()
