"""
How long attempts usually run, learnt from the statistics: the p95 of each name in the last hour or so.

Each minute only what was measured since is read and added to what is known, which weighs a little less every minute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from service.histogram import seconds_within
from service.store import Store
from service.store.slow import Key

LEARN_MINUTES = 60
LEAST_MEASURED = 20  # attempts by which a p95 is known


class Usual:
    """The p95 by namespace and name, as far as it is known."""

    def __init__(self) -> None:
        self.p95_seconds: dict[Key, float] = {}
        self.measured: dict[Key, dict[int, float]] = {}  # how many, by the steps of histogram.py
        self.learnt = 0  # the minute up to which statistics were read

    async def learn(self, store: Store, is_wanted: Callable[[Key], bool]) -> None:
        """Read what was measured in the minutes that are over since the last time. Raises StoreUnavailable."""
        now = store.statistics.now_minute()
        begin = max(self.learnt, now - LEARN_MINUTES)
        if begin < now:
            self.add(await store.slow.runs(begin, now, is_wanted), now - begin)
            self.learnt = now

    def add(self, found: Mapping[Key, Mapping[int, int]], minutes: int) -> None:
        """*found* in the next so many *minutes*."""
        weight = (1 - 1 / LEARN_MINUTES) ** minutes
        for key in {*self.measured, *found}:
            steps = {step: many * weight for step, many in self.measured.get(key, {}).items()}
            for step, many in found.get(key, {}).items():
                steps[step] = steps.get(step, 0) + many
            self.measured[key] = steps
            self.p95_seconds.pop(key, None)
            total = sum(steps.values())
            if total >= LEAST_MEASURED and (p95 := seconds_within(steps, 0.95)) is not None:
                self.p95_seconds[key] = p95
            elif total < 1:
                del self.measured[key]
