"""
The connection under httpx: aiohttp, which costs a fraction of httpx's own.

It sends the URL exactly as given (a signed one must not be re-quoted), keeps no cookies, follows nothing,
decodes nothing, and translates every error to httpx's. Time limits are the caller's.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator

import aiohttp
import httpx
from yarl import URL

CHUNK_BYTES = 64 * 1024
# Shorter than the 5 s after which Node and others close: a request on a connection just closed is a failed attempt.
KEEPALIVE_SECONDS = 4.0
DNS_SECONDS = 10
NO_LIMITS = aiohttp.ClientTimeout()


class AiohttpTransport(httpx.AsyncBaseTransport):
    """An httpx transport; make it on the event loop that uses it."""

    def __init__(self, *, most_connections: int = 0, verify: ssl.SSLContext | bool = True) -> None:
        """*most_connections* at once, 0 for no bound; *verify* as aiohttp's `ssl`."""
        connector = aiohttp.TCPConnector(
            limit=most_connections, ssl=verify, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=DNS_SECONDS
        )
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=NO_LIMITS, auto_decompress=False
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """
        Raises:
            httpx.TransportError: the answer's head did not come; the subclass says why.
        """
        url = request.url.copy_with(userinfo=b"", fragment=None)  # httpx has made a header of the user already
        headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw]
        try:
            answer = await self._session.request(
                request.method,
                URL(str(url), encoded=True),
                headers=headers,
                data=request.content or None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError) as exc:
            raise translated(exc, request) from exc
        return httpx.Response(
            answer.status, headers=answer.raw_headers, stream=AnswerStream(answer, request), request=request
        )

    async def aclose(self) -> None:
        await self._session.close()


class AnswerStream(httpx.AsyncByteStream):
    """The body as it comes; closing it before its end closes the connection."""

    def __init__(self, answer: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._answer, self._request = answer, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.content.iter_chunked(CHUNK_BYTES):
                yield chunk
        except (aiohttp.ClientError, OSError) as exc:
            raise translated(exc, self._request) from exc

    async def aclose(self) -> None:
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()


def translated(exc: Exception, request: httpx.Request) -> httpx.TransportError:
    """aiohttp's *exc* as httpx's, with a text that says what happened."""
    kind: type[httpx.TransportError] = httpx.ReadError
    text = str(exc)
    match exc:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            kind = httpx.ConnectError
        case aiohttp.ClientConnectorError():
            kind = httpx.ConnectError
            why = exc.os_error
            if isinstance(exc, aiohttp.ClientConnectorDNSError) or isinstance(why, socket.gaierror):
                text = f"the host name {request.url.host!r} does not resolve ({why.strerror or why})"
            else:
                text = f"cannot connect: {why.strerror or why}"
        case aiohttp.ServerDisconnectedError():
            kind, text = httpx.RemoteProtocolError, "the server closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            text = f"the connection ended in the middle of the answer ({exc})"
        case aiohttp.ClientResponseError():
            kind, text = httpx.RemoteProtocolError, f"the answer is not valid HTTP ({exc.message.strip()})"
        case OSError():
            text = f"the connection broke: {exc.strerror or exc}"
    return kind(text, request=request)
