"""Forgets what has been kept long enough, so that the memory of an idle system returns to its start."""

from __future__ import annotations

from service.scheduler.duty import Duty
from service.settings import Settings
from service.store import Store
from service.store.upkeep import prune, sweep, tidy

BUCKETS_A_TURN = 16


class Janitor(Duty):
    """Sweeps the lists of ended tasks; prunes the order of creation, a few buckets a turn, round and round."""

    every_seconds = 2.0

    def __init__(self, store: Store, settings: Settings) -> None:
        super().__init__(store)
        self.settings = settings
        self.places: dict[int, int] = {}

    async def do(self, shard: int) -> None:
        await sweep(self.store.tasks, self.settings, shard)
        await tidy(self.store.tasks, shard)
        for _ in range(BUCKETS_A_TURN):
            self.places[shard] = await prune(self.store.tasks, shard, self.places.get(shard, 0))
            if not self.places[shard]:
                break
