"""
Slow attempts in Redis: the slowest of each minute of a day, by namespace, and how long attempts usually run.

Workers tell of them now and then, in one call for all; nothing here is on the path of an attempt. The fact to know: all
lie in shard 0, so that the slowest are those of all shards.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from service.figures import LEASED
from service.slow import KEPT_MINUTES, SlowAttempt
from service.store.replies import pairs_of
from service.store.statistics import MINUTE_MS
from service.store.tallies import read_tally
from service.store.tasks import Tasks

MINUTES_A_CALL = 60
Key = tuple[str, str]  # namespace and name


class SlowAttempts:
    """Keeps and reads them. One for each `Store`."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks

    async def tell(
        self, session: str, number: int, rows: Sequence[tuple[str, SlowAttempt]], counts: Mapping[bytes, int]
    ) -> None:
        """
        Keep *rows*, each with its namespace, as far as they are among the slowest of their minutes, and count
        *counts*, by the fields of statistics. Told again with the same *number*, which only rises in a *session*, it
        counts once.

        Raises:
            StoreUnavailable: Redis did not answer; it may have been told.
        """
        given: list[str | bytes | int | float] = []
        for namespace, row in rows:
            given += (namespace, row.ended_ms // MINUTE_MS, row.run_ms, row.packed())
        counted = [part for pair in counts.items() for part in pair]
        kept_ms = KEPT_MINUTES * MINUTE_MS
        await self.tasks.scripts.call(0, "slow", f"{session}:{number}", kept_ms, len(rows), *given, *counted)

    async def read(self, namespace: str, begin: int, end: int) -> list[SlowAttempt]:
        """Those that are kept of the minutes from *begin* to *end*, in no order. Raises StoreUnavailable."""
        found: list[SlowAttempt] = []
        for at in range(max(begin, end - KEPT_MINUTES - 1), end, MINUTES_A_CALL):
            rows = await self.tasks.scripts.call(0, "slowest", namespace, at, min(MINUTES_A_CALL, end - at))
            found += map(SlowAttempt.parsed, rows)
            await asyncio.sleep(0)  # others of this process have their turn
        return found

    async def runs(self, begin: int, end: int, is_wanted: Callable[[Key], bool]) -> dict[Key, Counter[int]]:
        """
        How long attempts of the names that are wanted ran in the minutes from *begin* to *end*, by the steps of
        histogram.py. Raises StoreUnavailable.
        """
        found: dict[Key, Counter[int]] = defaultdict(Counter)
        for shard in range(self.tasks.shards):
            at = begin
            while at < end:
                minutes = [f"1:{minute}" for minute in range(at, end)]
                _, looked, *buckets = await self.tasks.scripts.call(shard, "history", *minutes)
                at += looked
                for packed, many in chain.from_iterable(map(pairs_of, buckets[1::2])):
                    tally = read_tally(packed)
                    key = tally.namespace, tally.name or ""
                    if tally.step is not None and tally.letter != LEASED and tally.name and is_wanted(key):
                        found[key][tally.step] += int(many)
                await asyncio.sleep(0)
        return found
