"""
uvicorn's HTTP/1.1 connection, with what it leaves open: a bound on the bytes of a request's head, and problems
instead of plain text for what is not HTTP.

The fact to know: our endpoints check the size of complete headers; this is for heads that never end.
"""

from __future__ import annotations

from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import HeadersTooLarge, InvalidRequest, Problem

MOST_HEAD_BYTES = 128 * 1024  # TASKPOST_MAX_HEADERS_BYTES is at most half of that


class Connection(HttpToolsProtocol):
    """One connection."""

    head_bytes = 0
    is_in_head = True

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.is_in_head and not self.transport.is_closing():
            self.head_bytes += len(data)
            if self.head_bytes > MOST_HEAD_BYTES:
                self.refuse(HeadersTooLarge(f"the headers have over {MOST_HEAD_BYTES} bytes"))

    def on_message_begin(self) -> None:
        self.is_in_head, self.head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.is_in_head, self.head_bytes = True, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self.refuse(InvalidRequest(f"this is not HTTP/1.1: {msg}"))

    def refuse(self, problem: Problem) -> None:
        """Answer, unless an answer has begun, and close."""
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            body = orjson.dumps(problem.document())
            self.transport.write(
                b"HTTP/1.1 %d Refused\r\ncontent-type: application/problem+json\r\n"
                b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (problem.status, len(body), body)
            )
        self.transport.close()
