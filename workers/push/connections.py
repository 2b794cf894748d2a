"""
The connections of a worker process: opened under the egress guard, kept for a moment, used again.

Owns who gets which connection. Refuses to give one out to a namespace with other rules than those it was opened under,
or with other TLS settings. The fact to know: a connection is made to an address that the resolver has checked, by
number; nothing resolves a name again.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from functools import cache
from itertools import zip_longest

import httpx

from service.egress import Origin, Rules
from workers.push.resolve import Resolver
from workers.push.trace import Trace, clock
from workers.push.wire import Connection, broken

# Shorter than the 5 s after which Node and others close: a request on a connection just closed is a failed attempt.
KEEP_SECONDS = 4.0
# Another address is tried beside one that has not answered after so long (RFC 8305).
NEXT_ADDRESS_SECONDS = 0.25

Key = tuple[Rules, str, str, int, ssl.SSLContext | None]


class TlsError(httpx.ConnectError):
    """No encrypted connection: a certificate that is not to be trusted, or no TLS at all."""


class Connections:
    """One for each worker process; make it on its event loop."""

    def __init__(self, resolver: Resolver, context: ssl.SSLContext | None = None) -> None:
        """*context* is how certificates are checked; None as the system does."""
        self._resolver, self._context = resolver, context
        self._idle: dict[Key, list[Connection]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def take(
        self, origin: Origin, rules: Rules, context: ssl.SSLContext | None, trace: Trace
    ) -> tuple[Key, Connection]:
        """
        A connection to *origin* for nobody else until it is given back; *context* replaces the pool's own, for a client
        with a certificate. *trace* notes how long it took.

        Raises:
            EgressDenied: one of its addresses may not be connected to.
            ResolveError: it has none, or none can be had now.
            httpx.ConnectError, TlsError: none of them took the connection.
        """
        key = (rules, origin.scheme, origin.host, origin.port, context)
        kept = self._idle.get(key)
        while kept:
            connection = kept.pop()
            if connection.is_open:
                trace.address, trace.is_reused = connection.address, True
                return key, connection
        begun = clock()
        addresses = await self._resolver.addresses(rules, origin.host, origin.port)
        trace.dns, trace.is_reused = None if origin.is_address else clock() - begun, False
        tls = None if origin.scheme == "http" else context or self._context or default_context()
        return key, await connect(origin, addresses, tls, trace)

    def give_back(self, key: Key, connection: Connection) -> None:
        """Whoever comes next may have it, if it is still good."""
        if not connection.is_open:
            return
        if self._is_closed:
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.setdefault(key, []).append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(KEEP_SECONDS / 4, self._close_idle)

    def _close_idle(self) -> None:
        """Close what nobody wanted in time."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - KEEP_SECONDS
        for key, kept in list(self._idle.items()):
            for connection in kept:
                if connection.idle_since < oldest:
                    connection.abort()
            self._idle[key] = [one for one in kept if one.is_open]
            if not self._idle[key]:
                del self._idle[key]
        self._sweep = loop.call_later(KEEP_SECONDS / 4, self._close_idle) if self._idle else None

    def close(self) -> None:
        """Close all that is idle, and what is given back from now on."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for kept in self._idle.values():
            for connection in kept:
                connection.abort()
        self._idle.clear()


@cache
def default_context() -> ssl.SSLContext:
    """Certificates as the system trusts them; read once, which takes a while."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def connect(
    origin: Origin, addresses: Sequence[str], tls: ssl.SSLContext | None, trace: Trace
) -> Connection:
    """
    Connect to one of *addresses*, the first that answers; *origin* is whom the certificate must name. *trace* notes how
    long that one took, or the first one when none does.

    Raises:
        httpx.ConnectError, TlsError: none does; told of the first that failed.
    """
    if len(addresses) == 1:
        return await open_one(origin, addresses[0], tls, trace)
    tries: dict[asyncio.Task[Connection], Trace] = {}
    first: httpx.ConnectError | None = None
    trying: set[asyncio.Task[Connection]] = set()
    left = interleaved(addresses)
    try:
        while trying or left:
            if left:
                noted = Trace()
                one = asyncio.create_task(open_one(origin, left.pop(0), tls, noted))
                tries[one] = noted
                trying.add(one)
            done, trying = await asyncio.wait(
                trying, timeout=NEXT_ADDRESS_SECONDS if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for one in done:
                error = one.exception()
                if first is None or error is None:
                    trace.connected_as(tries[one])
                if error is None:
                    trying |= done - {one}
                    return one.result()
                if not isinstance(error, httpx.ConnectError):
                    raise error
                first = first or error
    finally:
        for one in trying:
            one.cancel()
            one.add_done_callback(discard)
    assert first is not None  # noqa: S101 - there is at least one address, and each came to an end
    raise first


def discard(trying: asyncio.Task[Connection]) -> None:
    """Another address was faster."""
    if not trying.cancelled() and trying.exception() is None:
        trying.result().abort()


def interleaved(addresses: Sequence[str]) -> list[str]:
    """*addresses* with both versions of IP in turns, so that a broken one holds nobody up."""
    is_first = ":" in addresses[0]
    first = [one for one in addresses if (":" in one) == is_first]
    other = [one for one in addresses if (":" in one) != is_first]
    turns = [one for pair in zip_longest(first, other) for one in pair]
    return [one for one in turns if one is not None]


async def open_one(origin: Origin, address: str, tls: ssl.SSLContext | None, trace: Trace) -> Connection:
    """
    Raises:
        httpx.ConnectError, TlsError
    """
    loop = asyncio.get_running_loop()
    trace.address = f"[{address}]:{origin.port}" if ":" in address else f"{address}:{origin.port}"
    try:
        line = await connected(address, origin.port, trace)
        begun = clock()
        _, connection = await loop.create_connection(
            Connection, sock=line, ssl=tls, server_hostname=origin.host if tls else None
        )
        trace.tls = clock() - begun if tls else None
    except ssl.SSLCertVerificationError as exc:
        raise TlsError(f"the certificate of {origin.host} is not to be trusted: {exc.verify_message}") from exc
    except ssl.SSLError as exc:
        raise TlsError(f"no TLS with {origin.host}:{origin.port}: {exc.reason or exc}") from exc
    except OSError as exc:
        if tls is not None and isinstance(exc, ConnectionResetError | ConnectionAbortedError):
            raise TlsError(f"no TLS with {origin.host}:{origin.port}: {broken(exc)}") from exc
        raise httpx.ConnectError(f"cannot connect: {broken(exc)}") from exc
    connection.address = trace.address
    return connection


async def connected(address: str, port: int, trace: Trace) -> socket.socket:
    """A socket that leads to *address*. Raises OSError."""
    begun = clock()
    line = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        line.setblocking(False)
        await asyncio.get_running_loop().sock_connect(line, (address, port))
    except BaseException:
        line.close()
        raise
    trace.connect = clock() - begun
    return line
