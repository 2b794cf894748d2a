"""
uvicorn's HTTP/1.1 connection, with what it leaves open: a bound on the bytes of a request's head, problems instead
of plain text for what is not HTTP, an answer written in one go, and an end for a client that does not read.

The fact to know: a raw endpoint finds the last two as the ASGI extensions `ANSWER` and `ABORT` of its scope, and must
do without them where another server runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.errors import HeadersTooLarge, InvalidRequest, Problem

MOST_HEAD_BYTES = 128 * 1024  # TASKPOST_MAX_HEADERS_BYTES is at most half of that
ANSWER = "taskpost.answer"
ABORT = "taskpost.abort"
Answer = Callable[[bytes, bytes], bool]


def write_answer(exchange: RequestResponseCycle, head: bytes, body: bytes) -> bool:
    """
    Write *head* (status line and headers, Content-Length among them) and *body*; False when it must go the usual
    way, since the client reads too slowly or something was written before.
    """
    if exchange.response_started or exchange.disconnected or exchange.flow.write_paused:
        return False
    ours = [b"%b: %b\r\n" % pair for pair in exchange.default_headers]
    if not exchange.keep_alive:
        ours.append(b"connection: close\r\n")
    exchange.response_started = exchange.response_complete = True
    exchange.waiting_for_100_continue = False
    exchange.transport.write(b"".join((head, *ours, b"\r\n", body)))
    exchange.message_event.set()
    if not exchange.keep_alive:
        exchange.transport.close()
    exchange.on_response()
    return True


class Connection(HttpToolsProtocol):
    """One connection."""

    head_bytes = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # uvicorn knows the method once the head is complete.
        scope: Any = self.scope
        if scope is not None and "method" in scope:
            self.head_bytes = 0
            return
        self.head_bytes += len(data)
        if self.head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.refuse(HeadersTooLarge(f"the headers have over {MOST_HEAD_BYTES} bytes"))

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        exchange: Any = self.cycle
        if exchange is not None and exchange.scope is self.scope:
            self.scope["extensions"] = {ANSWER: partial(write_answer, exchange), ABORT: self.transport.abort}

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        scope = getattr(self.transport.get_protocol(), "scope", None)
        if scope is not None:  # the handshake was one
            scope["extensions"][ABORT] = self.transport.abort

    def send_400_response(self, msg: str) -> None:
        self.refuse(InvalidRequest(f"this is not HTTP/1.1: {msg}"))

    def refuse(self, problem: Problem) -> None:
        """Answer, unless an answer has begun, and close."""
        exchange: Any = self.cycle
        if exchange is None or exchange.response_complete or not exchange.response_started:
            body = orjson.dumps(problem.document())
            self.transport.write(
                b"HTTP/1.1 %d Refused\r\ncontent-type: application/problem+json\r\n"
                b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (problem.status, len(body), body)
            )
        self.transport.close()
