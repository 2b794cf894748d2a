"""Forgets what has been kept long enough, so that the memory of an idle system returns to its start."""

from __future__ import annotations

import logging

from service.scheduler.duty import Duty
from service.settings import Settings
from service.store import Store
from service.store.upkeep import prune, shed, sweep, tidy

BUCKETS_A_TURN = 16
# Looking at an id that stays is for nothing: so many are worth a turn, which is about 0.2 % of what Redis can do.
STAYING_A_TURN = 4096
SHEDS_A_TURN = 8

log = logging.getLogger("taskpost.scheduler")


class Janitor(Duty):
    """Sweeps the lists of ended tasks; prunes the order of creation, a few buckets a turn, round and round."""

    every_seconds = 2.0

    def __init__(self, store: Store, settings: Settings) -> None:
        super().__init__(store)
        self.settings = settings
        self.places: dict[int, int] = {}
        self.rests: dict[int, int] = {}  # turns to sit out

    async def do(self, shard: int) -> None:
        await sweep(self.store.tasks, self.settings, shard)
        await self.make_room(shard)
        await tidy(self.store.tasks, shard)
        await self.prune(shard)

    async def prune(self, shard: int) -> None:
        """Go on with the order of creation for as long as it pays; rest for as long as it did not."""
        self.rests[shard] = self.rests.get(shard, 0) - 1
        if self.rests[shard] >= 0:
            return
        staying = 0
        for _ in range(BUCKETS_A_TURN):
            self.places[shard], many = await prune(self.store.tasks, shard, self.places.get(shard, 0))
            staying += many
            if not self.places[shard] or staying >= STAYING_A_TURN:
                break
        self.rests[shard] = staying // STAYING_A_TURN

    async def make_room(self, shard: int) -> None:
        """While Redis is nearly full, let the oldest successes go; work in hand needs room to finish."""
        for _ in range(SHEDS_A_TURN):
            await self.store.memory.look()
            if self.store.memory.full is None:
                return
            if not (many := await shed(self.store.tasks, self.settings, shard)):
                return
            log.warning("Redis is nearly full: %d ended tasks of shard %d go before their time", many, shard)
