"""
How what a handler says gets from its own thread to the event loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from workers.outcome import LOST


class Said:
    """Awaitable at no cost, and fine to drop: all is done already."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


SAID = Said()


def tell(loop: asyncio.AbstractEventLoop, report: Callable[[], None]) -> None:
    """Call *report* on *loop*, from another thread, and wait for nothing."""
    try:
        loop.call_soon_threadsafe(report)
    except RuntimeError:  # the loop is closed: the worker is gone, and nobody can be told
        pass


def wait_on(loop: asyncio.AbstractEventLoop, begin: Callable[[], Awaitable[None]]) -> None:
    """
    Call *begin* on *loop*, from another thread, which stands still until what it answers is done.

    Raises:
        asyncio.CancelledError: that was cancelled, or the loop is closed.
    """

    async def wait() -> None:
        await begin()

    waiting = wait()
    try:
        asyncio.run_coroutine_threadsafe(waiting, loop).result()
    except concurrent.futures.CancelledError as exc:
        raise asyncio.CancelledError(LOST) from exc
    except RuntimeError as exc:
        if not loop.is_closed():
            raise
        waiting.close()
        raise asyncio.CancelledError("the worker is gone") from exc
