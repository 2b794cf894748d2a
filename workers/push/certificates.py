"""
Connections that show a client certificate: a pool for each pair of certificate and key.

The fact to know: beyond a number of pools those that were used longest ago are closed, and never one that is in use.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx

MOST_POOLS = 64


class Pool:
    """A client, and how many calls use it."""

    __slots__ = ("client", "users")

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client, self.users = client, 0


class CertificatePools:
    """The pools, by certificate and key. *make* makes a client that connects with a context of TLS."""

    def __init__(self, make: Callable[[ssl.SSLContext], httpx.AsyncClient]) -> None:
        self._make = make
        self._pools: OrderedDict[tuple[str, str], Pool] = OrderedDict()

    @asynccontextmanager
    async def client(self, pair: tuple[str, str]) -> AsyncIterator[httpx.AsyncClient]:
        """
        The client for *pair*, as long as the block lasts.

        Raises:
            ssl.SSLError: the pair cannot be used by this machine's TLS.
        """
        pool = self._pools.get(pair)
        if pool is None:
            pool = self._pools[pair] = Pool(self._make(context_of(*pair)))
        self._pools.move_to_end(pair)
        pool.users += 1
        try:
            yield pool.client
        finally:
            pool.users -= 1
            await self._close_old()

    async def _close_old(self) -> None:
        """Close the pools that were not used for longest, beyond the bound."""
        unused = [pair for pair, pool in self._pools.items() if not pool.users]
        for pair in unused[: max(0, len(self._pools) - MOST_POOLS)]:
            await self._pools.pop(pair).client.aclose()

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.client.aclose()
        self._pools.clear()


def context_of(certificate: str, private_key: str) -> ssl.SSLContext:
    """A context that trusts what this machine trusts, and shows *certificate*."""
    context = ssl.create_default_context()
    with held(f"{certificate.rstrip()}\n{private_key.rstrip()}\n".encode()) as place:
        context.load_cert_chain(place)
    return context


@contextmanager
def held(text: bytes) -> Iterator[str]:
    """The name of a file with *text*, which is in memory where the system can, since Python's TLS reads only files."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("taskpost-certificate")
        try:
            os.write(descriptor, text)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as kept:  # readable by us alone
        kept.write(text)
        kept.flush()
        yield kept.name
