"""
How a call gets its answer: over our own connections, or through httpx where something stands in the way of it.

The seam for tests stays httpx's: a transport given to the client, or `respx.mock(using="httpx")`, gets every request.
The fact to know: when neither is there, httpx is not asked, since its client alone costs more than the call.
"""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from workers.push.call import Call, of_httpx
from workers.push.connections import Connections
from workers.push.trace import clock
from workers.push.wire import Received

# What respx replaces while it mocks.
CHOOSE_TRANSPORT: Any = httpx.AsyncClient._transport_for_url


class Transport(httpx.AsyncBaseTransport):
    """Sends calls. *given* replaces our connections, for tests; *most_bytes* of a success and of another are kept."""

    def __init__(
        self,
        connections: Connections,
        most_bytes: int,
        most_error_bytes: int,
        given: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connections, self._given = connections, given
        self.most_bytes, self.most_error_bytes = most_bytes, most_error_bytes
        self._httpx: httpx.AsyncClient | None = None

    async def send(self, call: Call) -> Received:
        """
        The answer to *call*, read as far as it may be kept.

        Raises:
            httpx.TransportError: there is none; the class says why.
            EgressDenied: its host has an address that may not be called.
            UnusableRequest: it cannot be written.
        """
        if self._given is None and httpx.AsyncClient._transport_for_url is CHOOSE_TRANSPORT:
            return await self._exchange(call)
        return await self._send_by_httpx(call)

    async def _exchange(self, call: Call) -> Received:
        request = call.wire()
        trace = call.trace
        key, connection = await self._connections.take(call.origin, call.rules, call.context, trace)
        trace.sent = clock()
        try:
            received = await connection.exchange(
                request,
                is_head=call.method == "HEAD",
                most_bytes=self.most_bytes,
                most_error_bytes=self.most_error_bytes,
            )
            trace.ended = clock()
        finally:
            trace.first_byte = connection.first_byte
        self._connections.give_back(key, connection)
        return received

    async def aclose(self) -> None:
        """Close all connections."""
        self._connections.close()
        if self._given is not None:
            await self._given.aclose()

    # ------------------------------------------------------------ through httpx

    async def _send_by_httpx(self, call: Call) -> Received:
        if self._httpx is None:
            self._httpx = httpx.AsyncClient(
                transport=self._given or self,
                trust_env=False,
                follow_redirects=False,
                timeout=None,  # noqa: S113 - the caller limits the whole
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            )
        response = await self._httpx.send(call.as_httpx(), stream=True)
        try:
            body, is_whole = await read_raw(response, self.most_bytes if response.is_success else self.most_error_bytes)
        finally:
            await response.aclose()
        fields = [(name.lower(), value) for name, value in response.headers.raw]
        return Received(response.status_code, fields, body, is_whole)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """What a mock passes through."""
        rules, context = request.extensions["rules"], request.extensions["context"]
        received = await self._exchange(of_httpx(request, rules, context))
        rest = b"" if received.is_whole else b"\0"  # it is more than may be kept, however it goes on
        stream = httpx.ByteStream(received.body + rest)
        return httpx.Response(received.status, headers=received.headers, stream=stream, request=request)


async def read_raw(response: httpx.Response, most_bytes: int) -> tuple[bytes, bool]:
    """(up to *most_bytes* of the body as it came, whether that is all of it)."""
    chunks = []
    left = most_bytes
    stream = response.stream  # below httpx's own decoding, which knows no bound
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - an async client has no other
    async for chunk in stream:
        chunks.append(chunk[:left])
        left -= len(chunk)
        if left < 0:
            return b"".join(chunks), False
    return b"".join(chunks), True
