"""
Waiting for the end of a task: `Prefer: wait=N` (RFC 7240) and `?wait=N`.

Nothing polls: one reader of the event stream serves all who wait. A wait ends with the task, with its time, with
the client, and at once when this process stops.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from service.api.runtime import Runtime
from service.task import Snapshot

LONGEST_SECONDS = 25
WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,9})\"?")


def preferred_wait(prefer: bytes) -> int:
    """The seconds that a Prefer header asks to wait, at most 25; 0 when it does not ask, or not clearly."""
    for preference in prefer.decode("latin-1").lower().split(","):
        if found := WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(int(found[1]), LONGEST_SECONDS)
    return 0


async def until_ended(runtime: Runtime, id_: bytes, seconds: float, receive: Receive) -> Snapshot | None:
    """
    The task once it has ended, or as it stands after *seconds*; None when there is none.

    Raises:
        ClientDisconnect: nobody waits any more.
        StoreUnavailable: it cannot be known.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    leaving = asyncio.create_task(until_gone(receive))
    try:
        while True:
            ended = await runtime.within(runtime.require_store().events.ended(id_))
            try:
                snapshot = await runtime.read(id_)
                left = deadline - loop.time()
                if snapshot is None or snapshot.record.has_ended or left <= 0 or runtime.stopped.done():
                    return snapshot
                await asyncio.wait({ended, runtime.stopped, leaving}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended.cancel()
            if leaving.done():
                raise ClientDisconnect
    finally:
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving


async def until_gone(receive: Receive) -> None:
    """Return when the client is gone. The request's body has been read, so nothing else can come."""
    while (await receive())["type"] != "http.disconnect":
        pass
