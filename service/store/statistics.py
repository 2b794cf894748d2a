"""
Statistics: what the scripts counted, minute by minute, read over all shards.

What is kept of a time is coarser the older it is (`LEVELS`): a duty of the scheduler puts buckets together. Nothing
here counts; see tallies.py for what a bucket holds. The fact to know: a bucket is either where it was first or in the
larger one, never in both, since one script moves it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from service.figures import Figures
from service.store.queues import FIELDS
from service.store.replies import pairs_of
from service.store.tallies import Tally, read_tally
from service.store.tasks import Tasks

MINUTE_MS = 60_000
LEVELS = ((1, 120), (10, 1440), (60, 10_080))  # minutes of a bucket, and to what age it is kept so, in minutes
LIVES = {1: 26 * 60, 10: 8 * 1440, 60: 8 * 1440}  # minutes: longer, since no scheduler may run (writes.lua)
BUCKETS_A_CALL = 500
LOOKED = "g"


@dataclass(slots=True)
class Step:
    """One step of a series. *depths* says by `FIELDS` how many there were at the most; None when nobody looked."""

    figures: Figures = field(default_factory=Figures)
    depths: Counter[str] | None = None


@dataclass(slots=True)
class History:
    """What was counted in some time, in all and by step, queue, name and queue with name."""

    steps: list[Step]
    totals: Figures = field(default_factory=Figures)
    queues: dict[str, Figures] = field(default_factory=lambda: defaultdict(Figures))
    names: dict[str, Figures] = field(default_factory=lambda: defaultdict(Figures))

    def add(self, place: int, tally: Tally, many: int) -> None:
        """*many* of what *tally* says, in the step at *place*."""
        for figures in (self.totals, self.steps[place].figures, self.queues[tally.queue]):
            figures.add(tally.letter, tally.step, tally.error, many)
        if tally.name:
            self.names[tally.name].add(tally.letter, tally.step, tally.error, many)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose statistics: those of a namespace, or of one queue or name in it."""

    namespace: str
    queue: str | None = None
    name: str | None = None

    def holds(self, tally: Tally) -> bool:
        return (
            tally.namespace == self.namespace
            and self.queue in (None, tally.queue)
            and (self.name is None or self.name == tally.name)
        )


def least_step(begin: int, now: int) -> int:
    """The minutes of the buckets that are kept of a time that begins with the minute *begin*."""
    return next((minutes for minutes, kept in LEVELS if begin >= now - kept), LEVELS[-1][0])


def buckets_between(begin: int, end: int, now: int) -> Iterator[tuple[int, int]]:
    """(minutes, first minute) of every bucket that may hold what was counted between two minutes, large ones first."""
    for minutes, _ in reversed(LEVELS):
        first = max(begin, now - LIVES[minutes] - minutes)
        yield from ((minutes, at) for at in range(-(-first // minutes) * minutes, end, minutes))


class Statistics:
    """Reads what was counted, and keeps it small. One for each `Store`."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks

    def now_minute(self) -> int:
        return self.tasks.clock.now_ms() // MINUTE_MS

    async def read(self, scope: Scope, begin: int, end: int, step: int) -> History:
        """
        What was counted from the minute *begin* to the minute *end*, in steps of so many minutes, which are multiples
        of what `least_step` says.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        history = History([Step() for _ in range(begin, end, step)])
        wanted = list(buckets_between(begin, end, self.now_minute()))

        async def read_shard(shard: int) -> list[Counter[str]]:
            looked, deepest = 0, [Counter[str]() for _ in history.steps]
            while looked < len(wanted):
                part = wanted[looked : looked + BUCKETS_A_CALL]
                names = [f"{minutes}:{first}" for minutes, first in part]
                _, many, *found = await self.tasks.scripts.call(shard, "history", *names)
                for number, bucket in zip(found[::2], found[1::2], strict=True):
                    place = (part[number][1] - begin) // step
                    deepest[place] |= take(bucket, scope, history, place)
                    await asyncio.sleep(0)  # others of this process have their turn
                looked += many
            return deepest

        by_shard = await asyncio.gather(*map(read_shard, range(self.tasks.shards)))
        for one, depths in zip(history.steps, zip(*by_shard, strict=True), strict=True):
            one.depths = together(depths) if scope.name is None else None
        return history

    async def gauge(self, shard: int) -> None:
        """Note how many tasks the queues of *shard* hold now. Raises StoreUnavailable."""
        await self.tasks.scripts.call(shard, "gauge")

    async def total(self, shard: int) -> Counter[Tally]:
        """What was counted in *shard* altogether, as total.lua makes it coarser. Raises StoreUnavailable."""
        is_more = 1
        while is_more:
            is_more, over, now_counted = await self.tasks.scripts.call(shard, "total")
        total: Counter[Tally] = Counter()
        for packed, many in (*pairs_of(over), *pairs_of(now_counted)):
            total[read_tally(packed)] += int(many)
        return total

    async def condense(self, shard: int) -> None:
        """Put together what is old enough. Raises StoreUnavailable; nothing is lost, the next time does it."""
        for (small, kept), (large, _) in pairwise(LEVELS):
            while await self.tasks.scripts.call(shard, "condense", small, large, kept):
                pass


def take(bucket: list[bytes], scope: Scope, history: History, place: int) -> Counter[str]:
    """Add what *bucket* holds of *scope* to *history*; answers how many tasks there were, which adds up otherwise."""
    depths: Counter[str] = Counter()
    for packed, value in pairs_of(bucket):
        tally = read_tally(packed)
        if tally.letter == LOOKED:
            depths[LOOKED] = 1
        elif scope.holds(tally):
            if tally.letter in FIELDS:
                depths[tally.letter] += int(value)
            else:
                history.add(place, tally, int(value))
    return depths


def together(depths: Iterable[Counter[str]]) -> Counter[str] | None:
    """How many tasks all shards held at the most; None when nobody looked."""
    total = sum(depths, Counter[str]())
    return total if total[LOOKED] else None
