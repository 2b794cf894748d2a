"""
uvicorn's HTTP/1.1 connection, with what it leaves open: bounds on the bytes of a request's head and on requests that
come before their turn, what the client owes us, problems instead of plain text for what is not HTTP, an answer written
in one go, and an end for a client that does not read.

The fact to know: a raw endpoint finds the last two as the ASGI extensions `ANSWER` and `ABORT` of its scope, and must
do without them where another server runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.api.slowness import Debt, Slowness
from service.errors import HeadersTooLarge, InvalidRequest, Overloaded, Problem, RequestTimeout

MOST_HEAD_BYTES = 128 * 1024  # TASKPOST_MAX_HEADERS_BYTES and TASKPOST_MAX_TARGET_BYTES are at most half of that each
MOST_WAITING = 256  # requests behind one that is being answered; each takes some 4 KB, and 20 bytes to send
RETRY_AFTER = {"Retry-After": "5"}
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

    exchanges = 0  # requests whose head was read
    body_bytes = 0  # of the last one's body
    other_bytes = 0  # since the last head or the last piece of a body

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.slowness = Slowness()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        most = getattr(self.config, "most_connections", 0)
        if most and len(self.connections) > most:
            detail = f"this process has {most} connections, the bound"
            self.refuse(Overloaded(detail, headers=RETRY_AFTER))

    def data_received(self, data: bytes) -> None:
        exchanges, body_bytes = self.exchanges, self.body_bytes
        super().data_received(data)
        # What is neither the end of a head nor of a body is a head that goes on and on, or trailers that do.
        if exchanges != self.exchanges or body_bytes != self.body_bytes:
            self.other_bytes = 0
            return
        self.other_bytes += len(data)
        if self.other_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.refuse(HeadersTooLarge(f"the headers have over {MOST_HEAD_BYTES} bytes"))

    def on_headers_complete(self) -> None:
        self.exchanges += 1
        self.body_bytes = 0
        super().on_headers_complete()
        exchange: Any = self.cycle
        if exchange is not None and exchange.scope is self.scope:
            self.scope["extensions"] = {ANSWER: partial(write_answer, exchange), ABORT: self.transport.abort}
        if len(self.pipeline) > MOST_WAITING:
            raise InvalidRequest("too many requests wait behind another")  # the parser stops, as at what is not HTTP

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        super().on_body(body)

    # ------------------------------------------------------------ slow clients

    def debt(self) -> Debt | None:
        """What we wait for the client to do; None while it is our turn."""
        exchange: Any = self.cycle
        is_over = exchange is None or exchange.response_complete
        unread = self.transport.get_write_buffer_size()
        if unread and (is_over or not exchange.response_started or self.transport.is_closing()):
            return Debt("answer", self.exchanges, unread)
        if exchange is not None and exchange.more_body and not self.flow.read_paused:
            # Whose answer has begun, as that of a stream, takes what comes when it comes.
            if is_over:
                return Debt("rest", self.exchanges)
            return None if exchange.response_started else Debt("body", self.exchanges, self.body_bytes)
        return Debt("head", self.exchanges) if is_over and self.timeout_keep_alive_task is None else None

    def end(self, debt: Debt, seconds: float) -> None:
        """Give up a client that owes *debt* for over *seconds*: with a word, where one can be said."""
        if debt.what == "answer":
            self.transport.abort()  # a mere close would wait for the client to read what was written
        elif debt.what == "body" or (debt.what == "head" and self.other_bytes):
            self.refuse(RequestTimeout(f"the {debt.what} of the request did not arrive within {seconds:g} seconds"))
        else:
            self.transport.close()

    def make_room(self, most_bytes: int) -> None:
        """Give up a body that is on its way, since all of them together have over *most_bytes*."""
        detail = f"the bodies on their way to this process have over {most_bytes} bytes together, the bound"
        self.refuse(Overloaded(detail, headers=RETRY_AFTER))

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
            more = "".join(f"{name.lower()}: {value}\r\n" for name, value in problem.headers.items()).encode()
            self.transport.write(
                b"HTTP/1.1 %d Refused\r\ncontent-type: application/problem+json\r\n%b"
                b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (problem.status, more, len(body), body)
            )
        self.transport.close()
