"""
The connection under httpx: aiohttp, which costs a fraction of httpx's own. At this seam stands the egress guard.

It sends the URL exactly as given (a signed one must not be re-quoted), keeps no cookies, follows nothing,
decodes nothing, and translates every error to httpx's. Time limits are the caller's.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import ResolveResult
from yarl import URL

from service.egress import Egress, Rules
from workers.push.resolve import NotResolved, Resolver

CHUNK_BYTES = 64 * 1024
# Shorter than the 5 s after which Node and others close: a request on a connection just closed is a failed attempt.
KEEPALIVE_SECONDS = 4.0
RULES = "taskpost.rules"  # the extension of a request that holds the rules of its namespace
NO_LIMITS = aiohttp.ClientTimeout()


class ResolveError(httpx.ConnectError):
    """The host name has no address, or none can be had now."""


class TlsError(httpx.ConnectError):
    """No encrypted connection: a certificate that is not to be trusted, or no TLS at all."""


class GuardedConnector(aiohttp.TCPConnector):
    """
    Connects to addresses that *rules* let through, and to no others.

    The pool's connections were checked when they were opened, so there is a connector for each namespace with rules of
    its own.
    """

    def __init__(self, rules: Rules, resolver: Resolver, **options: Any) -> None:
        super().__init__(use_dns_cache=False, **options)
        self.rules, self.guarded = rules, resolver

    async def _resolve_host(self, host: str, port: int, traces: Any = None) -> list[ResolveResult]:  # noqa: ARG002
        # Here rather than as aiohttp's resolver, which is not asked about hosts that are addresses.
        found = await self.guarded.addresses(self.rules, host.rstrip("."), port)
        return [
            ResolveResult(hostname=host, host=one, port=port, family=socket.AF_UNSPEC, proto=0, flags=0)
            for one in found
        ]


class AiohttpTransport(httpx.AsyncBaseTransport):
    """An httpx transport; make it on the event loop that uses it."""

    def __init__(
        self,
        *,
        egress: Egress,
        resolver: Resolver,
        most_connections: int = 0,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        """*most_connections* at once for each set of rules, 0 for no bound; *verify* as aiohttp's `ssl`."""
        self._egress, self._resolver = egress, resolver
        self._options = {"limit": most_connections, "ssl": verify, "keepalive_timeout": KEEPALIVE_SECONDS}
        self._sessions: dict[Rules, aiohttp.ClientSession] = {}

    def _session(self, rules: Rules) -> aiohttp.ClientSession:
        if (session := self._sessions.get(rules)) is None:
            session = self._sessions[rules] = aiohttp.ClientSession(
                connector=GuardedConnector(rules, self._resolver, **self._options),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=NO_LIMITS,
                auto_decompress=False,
            )
        return session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """
        Raises:
            httpx.TransportError: the answer's head did not come; the subclass says why.
            EgressDenied: the host has an address that may not be called.
        """
        rules = request.extensions.get(RULES) or self._egress.rules()
        url = request.url.copy_with(userinfo=b"", fragment=None)  # httpx has made a header of the user already
        headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw]
        try:
            answer = await self._session(rules).request(
                request.method,
                URL(str(url), encoded=True),
                headers=headers,
                data=request.content or None,
                allow_redirects=False,
            )
        except NotResolved as exc:
            raise ResolveError(str(exc), request=request) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise translated(exc, request) from exc
        return httpx.Response(
            answer.status, headers=answer.raw_headers, stream=AnswerStream(answer, request), request=request
        )

    async def aclose(self) -> None:
        for session in self._sessions.values():
            await session.close()


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
            kind = TlsError
        case aiohttp.ClientConnectorError():
            kind = httpx.ConnectError
            text = f"cannot connect: {exc.os_error.strerror or exc.os_error}"
        case aiohttp.ServerDisconnectedError():
            kind, text = httpx.RemoteProtocolError, "the server closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            text = f"the connection ended in the middle of the answer ({exc})"
        case aiohttp.ClientResponseError():
            kind, text = httpx.RemoteProtocolError, f"the answer is not valid HTTP ({exc.message.strip()})"
        case OSError():
            text = f"the connection broke: {exc.strerror or exc}"
    return kind(text, request=request)
