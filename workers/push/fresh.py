"""
Something read from the store, never much older than two seconds.

Read when it is needed and not before, by one caller for all that wait. The fact to know: while the store does not
answer, what was read before stands; a call must not fail because Redis is away for a moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

from service.errors import StoreFull, StoreUnavailable

log = logging.getLogger("taskpost.worker")

T = TypeVar("T")
FRESH_SECONDS = 2.0


class Fresh(Generic[T]):
    """What *read* answered last. *what* names it in the log."""

    __slots__ = ("_read", "_reading", "_until", "_value", "what")

    def __init__(self, read: Callable[[], Awaitable[T]], what: str) -> None:
        self._read, self.what = read, what
        self._value: T | None = None
        self._until = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def get(self) -> T:
        """
        The value, at most `FRESH_SECONDS` old while the store answers.

        Raises:
            StoreUnavailable, StoreFull: the store did not answer, and never did before.
        """
        if monotonic() >= self._until or self._value is None:
            if self._reading is None:
                self._reading = asyncio.create_task(self._renew())
            # A caller that is cancelled takes nothing from the others.
            await asyncio.shield(self._reading)
        if self._value is None:
            raise StoreUnavailable(f"{self.what} could not be read")
        return self._value

    def forget(self) -> None:
        """Read again before the next use."""
        self._until = 0.0

    async def _renew(self) -> None:
        try:
            self._value = await self._read()
        except (StoreUnavailable, StoreFull) as exc:
            log.warning("%s could not be read; what was known stands: %s", self.what, exc)
        finally:
            self._until = monotonic() + FRESH_SECONDS
            self._reading = None
