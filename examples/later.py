"""
An endpoint that finishes its task later: it answers at once, works, says how far it is, and completes.

    scripts/up
    python examples/later.py

Here the endpoint and who submits the task are one program. The second task is cancelled while the endpoint works.
"""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from service.client import Completion, Taskpost, later

PAGES = 12


class Endpoint(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Thread(target=work, args=(self.headers["Taskpost-Completion-Url"], body)).start()
        self.send_response(202)
        for name, value in later(heartbeat_seconds=10).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """The program prints what matters."""


def work(completion_url: str, body: dict[str, Any]) -> None:
    """Longer than a call should be held open; no worker waits for it."""
    with Completion(completion_url) as completion:
        for page in range(1, PAGES + 1):
            time.sleep(body["seconds_a_page"])
            if completion.progress(page, PAGES, f"page {page}"):  # each answer says whether to go on
                print(f"the endpoint stops at page {page}, as asked")
                completion.fail("stopped, as asked")
                return
        completion.complete({"pages": PAGES})


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/report"
    with Taskpost() as tasks:
        done = tasks.submit(url=url, body={"seconds_a_page": 0.02}, wait=60)
        print(f"{done.state}: {done.result}")
        slow = tasks.submit(url=url, body={"seconds_a_page": 1})
        while tasks.get(slow.id).progress is None:
            time.sleep(0.1)
        tasks.cancel(slow.id)
        print(f"the second one is {tasks.get(slow.id, wait=60).state}")
    server.shutdown()


if __name__ == "__main__":
    main()
