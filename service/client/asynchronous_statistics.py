"""
The asynchronous client's methods for statistics: the same as `blocking_statistics`, awaited.
"""

from __future__ import annotations

from typing import TypeVar, Unpack

from service.client.calls import Steps
from service.client.shell import Shell
from service.client.statistics import Overview, Period, SlowAttempts, Statistics, Window

T = TypeVar("T")


class AsyncStatisticsReader(Shell):
    """What `AsyncTaskpost` can tell of how tasks went."""

    async def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    async def stats(self, **period: Unpack[Period]) -> Statistics:
        """As `Taskpost.stats`."""
        return await self._run(self._statistics.stats(period))

    async def slow(self, **window: Unpack[Window]) -> SlowAttempts:
        """As `Taskpost.slow`."""
        return await self._run(self._statistics.slow(window))

    async def overview(self) -> Overview:
        """As `Taskpost.overview`."""
        return await self._run(self._statistics.overview())
