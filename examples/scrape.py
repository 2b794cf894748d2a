"""
Read many pages of one site without annoying it: two at once, and as slowly as it asks for.

    taskpost up --handlers examples.scrape    # in one terminal
    python examples/scrape.py                 # in another: serves the site, too

The semaphore holds in one worker process. `Defer` is for what the site itself says: come back later, spending no retry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

import httpx

from workers import Defer, Depends, lifespan, task

AT_ONCE = asyncio.Semaphore(2)


@lifespan
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """One client, with its connections, for each worker process."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as opened:
        yield opened


@task("scrape.title", timeout=30, retries=3, retry_on=(httpx.HTTPError,))
async def title(url: str, http: httpx.AsyncClient = Depends(client)) -> str:
    """The title of the page at *url*."""
    async with AT_ONCE:
        answer = await http.get(url)
    if answer.status_code == 429:
        raise Defer("the site asks for patience", after=float(answer.headers.get("retry-after", 1)))
    answer.raise_for_status()
    return answer.text.partition("<title>")[2].partition("</title>")[0]


class Site(BaseHTTPRequestHandler):
    """A site that answers five pages in half a second, and 429 to whoever wants more."""

    lock, asked, refused = Lock(), [0.0] * 5, 0

    def do_GET(self) -> None:
        with self.lock:
            may_pass = time.monotonic() - self.asked[0] > 0.5
            if may_pass:
                self.asked[:] = [*self.asked[1:], time.monotonic()]
            else:
                Site.refused += 1
        page = f"<title>Page {self.path}</title>".encode() if may_pass else b""
        self.send_response(200 if may_pass else 429)
        self.send_header("content-length", str(len(page)))
        if not may_pass:
            self.send_header("retry-after", "0.5")
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        Thread(target=site.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{site.server_port}"
        handles = title.submit_many_sync([(f"{address}/{number}",) for number in range(12)])
        for handle in handles:
            print(handle.get(timeout=60))
        print(f"asked for patience {Site.refused} times")
        site.shutdown()


if __name__ == "__main__":
    main()
