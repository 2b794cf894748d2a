"""Gives back the tasks of workers that fell silent."""

from __future__ import annotations

from contextlib import suppress

from service.errors import TaskpostError
from service.scheduler.duty import Duty
from service.settings import Settings
from service.store import Store
from service.store.outside import reap


class Recoverer(Duty):
    """Workers reap too; this works when none is left."""

    every_seconds = 0.7

    def __init__(self, store: Store, settings: Settings) -> None:
        super().__init__(store)
        self.settings = settings

    async def run(self) -> None:
        if not self.store.handlers.is_fresh:
            with suppress(TaskpostError):  # what was known stands
                await self.store.handlers.refresh()
        await super().run()

    async def do(self, shard: int) -> None:
        await reap(self.store.tasks, self.store.handlers, self.settings, shard)
