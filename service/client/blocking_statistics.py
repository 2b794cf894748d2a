"""
The synchronous client's methods for statistics.
"""

from __future__ import annotations

from typing import TypeVar, Unpack

from service.client.calls import Steps
from service.client.shell import Shell
from service.client.statistics import Overview, Period, SlowAttempts, Statistics, Window

T = TypeVar("T")


class StatisticsReader(Shell):
    """What `Taskpost` can tell of how tasks went."""

    def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    def stats(self, **period: Unpack[Period]) -> Statistics:
        """What tasks did: in the hour before now, unless *period* says when. Percentiles are over all shards."""
        return self._run(self._statistics.stats(period))

    def slow(self, **window: Unpack[Window]) -> SlowAttempts:
        """The attempts that ran longer than their thresholds, the slowest first, and where their time went."""
        return self._run(self._statistics.slow(window))

    def overview(self) -> Overview:
        """How everything is now: tasks, queues, workers, Redis, and what should be mended."""
        return self._run(self._statistics.overview())
