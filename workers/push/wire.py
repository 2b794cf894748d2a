"""
HTTP/1.1 over one connection: a request goes out, its answer comes back, whole and bounded.

Owns how an answer is read, by httptools. Refuses to keep more of it than it is told, to read headers without end, and
to be used again after anything out of the ordinary. The fact to know: nobody reads a body piece by piece; an exchange
is one future, which is most of why it costs so little.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from typing import Any, cast

import httptools
import httpx

from workers.push.trace import clock

MOST_HEAD_BYTES = 64 * 1024
MOST_HEADERS = 256
MOST_BYTES_A_BYTE = 8  # of a body that may be kept; in chunks of one byte each takes six


class HeadersTooLarge(httpx.RemoteProtocolError):
    """The answer's headers have no end, or one beyond all use."""


@dataclass(slots=True)
class Received:
    """An answer. *body* is as it came over the wire; cut where *is_whole* is False."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    is_whole: bool


class Connection(asyncio.Protocol):
    """One connection, open from the call of `connection_made` on. `is_open` says whether it may be used again."""

    __slots__ = (
        "_answer", "_body", "_has_length", "_head_bytes", "_headers", "_in_head", "_is_head", "_is_silent",
        "_kept_bytes", "_most_bytes", "_most_error_bytes", "_parser", "_received_bytes", "_status", "address",
        "first_byte", "idle_since", "is_open", "transport",
    )  # fmt: skip

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.is_open = False
        self.idle_since = 0.0
        self.address = ""  # whom it leads to, with the port
        self.first_byte: float | None = None  # when the answer began
        self._answer: asyncio.Future[Received] | None = None
        self._parser: Any = None

    # ------------------------------------------------------------ the caller's side

    async def exchange(self, request: bytes, *, is_head: bool, most_bytes: int, most_error_bytes: int) -> Received:
        """
        Send *request*, and read the answer: up to *most_bytes* of the body of a success, *most_error_bytes* of another.

        Raises:
            httpx.TransportError: there is no answer; the class says why.
            asyncio.CancelledError: the caller gave up; the connection is closed at once.
        """
        assert self.transport is not None  # noqa: S101 - made before it is handed out
        answer: asyncio.Future[Received] = asyncio.get_running_loop().create_future()
        self._answer, self.first_byte = answer, None
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._is_head, self._in_head, self._is_silent, self._has_length = is_head, True, True, False
        self._most_bytes, self._most_error_bytes = most_bytes, most_error_bytes
        self._status = self._head_bytes = self._received_bytes = self._kept_bytes = 0
        self.transport.write(request)
        try:
            return await answer
        except BaseException:
            self._answer = None
            self.abort()
            raise

    def abort(self) -> None:
        """Close at once, whatever is on its way."""
        self.is_open = False
        if self.transport is not None:
            self.transport.abort()

    def _end(self, *, is_whole: bool, may_stay: bool) -> None:
        answer, self._answer = self._answer, None
        if not may_stay:
            self.abort()
        if answer is not None and not answer.done():
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            answer.set_result(Received(self._status, self._headers, body, is_whole))

    def _fail(self, error: httpx.TransportError) -> None:
        answer, self._answer = self._answer, None
        self.abort()
        if answer is not None and not answer.done():
            answer.set_exception(error)

    # ------------------------------------------------------------ asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.abort()  # nobody asked
            return
        if self._is_silent:
            self._is_silent, self.first_byte = False, clock()
        self._received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(
                httpx.RemoteProtocolError("the server wants to speak another protocol (101 Switching Protocols)")
            )
        except httptools.HttpParserError as exc:
            self._fail(httpx.RemoteProtocolError(f"the answer is not valid HTTP ({exc})"))
        if self._answer is not None and self._received_bytes > MOST_HEAD_BYTES:
            bound = MOST_HEAD_BYTES + (0 if self._in_head else self._most_now() * MOST_BYTES_A_BYTE)
            if self._received_bytes > bound:
                self._fail(too_large())

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self.transport = self._parser = None
        if self._answer is None:
            return
        if self._is_silent:
            told = "the server closed the connection without an answer" if exc is None else broken(exc)
            self._fail(httpx.RemoteProtocolError(told))
        elif exc is None and not self._in_head and not self._has_length:
            self._end(is_whole=True, may_stay=False)  # its end is the end of the connection
        else:
            told = "it was closed" if exc is None else broken(exc)
            self._fail(httpx.ReadError(f"the connection ended in the middle of the answer ({told})"))

    # ------------------------------------------------------------ the parser's side

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MOST_HEAD_BYTES or len(self._headers) >= MOST_HEADERS:
            self._fail(too_large())
            return
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._has_length = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._status = status = self._parser.get_status_code()
        if 100 <= status < 200:
            return
        self._in_head = False
        if self._is_head:
            self._end(is_whole=True, may_stay=False)

    def on_body(self, body: bytes) -> None:
        if self._answer is None:
            return
        most = self._most_now()
        self._kept_bytes += len(body)
        if self._kept_bytes > most:
            self._body.append(body[: len(body) - (self._kept_bytes - most)])
            self._end(is_whole=False, may_stay=False)
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        if 100 <= self._status < 200:  # the answer itself is still to come
            self._headers = []
            self._has_length = False
            return
        if self._answer is not None:
            self._end(is_whole=True, may_stay=self._parser.should_keep_alive())

    def on_message_begin(self) -> None:
        if self._answer is None:
            self.abort()  # a second answer, which nobody asked for

    def _most_now(self) -> int:
        return self._most_bytes if 200 <= self._status < 300 else self._most_error_bytes


def too_large() -> HeadersTooLarge:
    return HeadersTooLarge(f"the answer has more than {MOST_HEAD_BYTES} bytes or {MOST_HEADERS} fields of headers")


def broken(exc: Exception) -> str:
    """What became of a connection."""
    if isinstance(exc, ssl.SSLError):
        return f"TLS failed: {exc.reason or exc}"
    if isinstance(exc, OSError) and exc.errno is not None and exc.errno > 0:
        return os.strerror(exc.errno)  # asyncio's own text names the address once more, and not what happened
    return str(exc) or type(exc).__name__
