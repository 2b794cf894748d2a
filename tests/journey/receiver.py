"""An HTTP endpoint of the test's own: keeps what it is sent, answers what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any


class Receiver:
    """
    *received* gets (path, headers, body) of each request, *bodies* the same bodies byte by byte; *answers* holds
    (status, body) for the next ones, *headers* go with each of them.
    """

    def __init__(self) -> None:
        self.received: Queue[tuple[str, dict[str, str], Any]] = Queue()
        self.bodies: Queue[bytes] = Queue()
        self.echo = 0  # a status: calls of / are answered with it, and with what they sent
        self.answers: list[tuple[int, bytes]] = []
        self.headers: dict[str, str] = {}
        receiver = self

        class Endpoint(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, body = receiver.answers.pop(0) if receiver.answers else (200, b'{"heard": true}')
                if receiver.echo and self.path == "/":
                    own = {"headers": headers, "message": f"got {headers} and {text!r}"}
                    status, body = receiver.echo, json.dumps(own).encode()
                receiver.bodies.put(text)
                receiver.received.put((self.path, headers, decoded(text)))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def next_signed(self) -> tuple[dict[str, str], bytes]:
        """Headers and body, as it came, of the next request, waited for."""
        return self.next()[1], self.bodies.get(timeout=60)

    def next(self) -> tuple[str, dict[str, str], Any]:
        """The next request, waited for."""
        return self.received.get(timeout=60)


def decoded(body: bytes) -> Any:
    """The JSON of *body*; None of one that is none."""
    try:
        return json.loads(body)
    except ValueError:
        return None


@contextmanager
def receiver() -> Iterator[Receiver]:
    """An endpoint that answers as long as the block lasts."""
    held = Receiver()
    thread = threading.Thread(target=held.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        held.server.shutdown()
        held.server.server_close()
        thread.join()
