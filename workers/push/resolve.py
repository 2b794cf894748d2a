"""
Host names to addresses that may be connected to: the second half of the egress guard.

Owns the look-ups of a worker process, and remembers each for a few seconds. The fact to know: what is answered here is
what is connected to. Nothing underneath resolves a name again, so that a name server which changes its answer between
check and connection changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache

import httpx

from service.egress import Rules
from service.egress_rules import Server
from service.egress_table import Address, address_of

KEEP_SECONDS = 10.0
MOST_NAMES = 1000
# A name whose servers never answer takes its thread for half a minute. The threads of asyncio itself are few, and the
# name of Redis is looked up there.
THREADS = 64

LookUp = Callable[[str], Awaitable[Sequence[str]]]


class ResolveError(httpx.ConnectError):
    """The name has no address, or the name servers gave no answer; another attempt may find one."""


@cache
def threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "taskpost-names")


async def look_up(host: str) -> list[str]:
    """
    Every address of *host*, as the system finds them.

    Raises:
        socket.gaierror
    """
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(threads(), socket.getaddrinfo, host, None, 0, socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Resolver:
    """One for each worker process."""

    def __init__(self, servers: Callable[[], Collection[Server]] = tuple, look_up: LookUp = look_up) -> None:
        """*servers* answers where our own Redis is now, beside what the settings say."""
        self._servers, self._look_up = servers, look_up
        self._names: dict[str, asyncio.Task[Sequence[str]]] = {}

    async def addresses(self, rules: Rules, host: str, port: int) -> Sequence[str]:
        """
        Every address of *host*, all of which *rules* let through.

        Raises:
            EgressDenied: one of them may not be connected to at *port*.
            ResolveError: there is none, or none can be had now.
        """
        found = await self._addresses_of(host)
        rules.check(host, port, found, await self._own(rules, port, found))
        return found

    async def _own(self, rules: Rules, port: int, found: Sequence[str]) -> Collection[tuple[Address, int]]:
        """
        The addresses of our own Redis at *port*; those of *found* too that are this machine's, if Redis runs here.

        Raises:
            ResolveError: its name does not resolve, so that nobody can tell what is Redis and what is not.
        """
        names = {server for server, own_port in (*rules.own, *self._servers()) if own_port == port}
        if not names:
            return ()
        own = [address_of(one) for name in names for one in await self._addresses_of(name)]
        if any(is_this_machine(one) for one in own):
            own += [address for one in found if is_this_machine(address := address_of(one))]
        return [(one, port) for one in own]

    async def _addresses_of(self, host: str) -> Sequence[str]:
        if (literal := literal_of(host)) is not None:
            return [literal]
        looking = self._names.get(host)
        if looking is None:
            if len(self._names) >= MOST_NAMES:
                self._names.pop(next(iter(self._names)))
            looking = self._names[host] = asyncio.create_task(self._look(host))
            looking.add_done_callback(note_failure)
        try:
            return await asyncio.shield(looking)
        except OSError as exc:
            raise ResolveError(f"the host name {host!r} does not resolve ({exc.strerror or exc})") from exc

    async def _look(self, host: str) -> Sequence[str]:
        """Look up, and forget in time: a failure at once, an answer after a while."""
        seconds = 0.0
        try:
            found = await self._look_up(host)
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "it has no address")
            seconds = KEEP_SECONDS
        finally:
            ours = asyncio.current_task()
            asyncio.get_running_loop().call_later(seconds, self._forget, host, ours)
        return found

    def _forget(self, host: str, looking: asyncio.Task[Sequence[str]] | None) -> None:
        if self._names.get(host) is looking:
            del self._names[host]


def literal_of(host: str) -> str | None:
    """*host* if it is an address itself."""
    try:
        return str(address_of(host))
    except ValueError:
        return None


def note_failure(looking: asyncio.Task[Sequence[str]]) -> None:
    """Whoever waited for it may have been cancelled; then nobody asks how it failed."""
    if not looking.cancelled():
        looking.exception()


def is_this_machine(address: Address) -> bool:
    """Whether what goes to *address* stays on this machine: then it is where it comes from, too. Sends nothing."""
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((str(address), 9))
        return bool(probe.getsockname()[0] == str(address))
    return False
