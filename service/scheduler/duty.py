"""What a duty is: something done again and again, that may fail and be done the next time."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod

from service.errors import TaskpostError
from service.store import Store

log = logging.getLogger("taskpost.scheduler")


class Duty(ABC):
    """Done for every shard, every *every_seconds* with some jitter."""

    every_seconds: float = 1.0

    def __init__(self, store: Store) -> None:
        self.store = store

    async def run(self) -> None:
        """Do it once for all shards, together: one that does not answer must not keep the others from it."""
        await asyncio.gather(*map(self.attempt, range(self.store.shards)))

    async def attempt(self, shard: int) -> None:
        """Do it for one shard; what fails is said, and left to the next time."""
        try:
            await self.do(shard)
        except TaskpostError as exc:
            log.warning("%s, shard %d: %s", type(self).__name__.lower(), shard, exc)

    @abstractmethod
    async def do(self, shard: int) -> None:
        """Do it for one shard."""
