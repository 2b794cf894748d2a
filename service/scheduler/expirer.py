"""Ends tasks that waited past their time."""

from __future__ import annotations

from service.scheduler.duty import Duty
from service.settings import Settings
from service.store import Store
from service.store.expiry import expire


class Expirer(Duty):
    """A worker that takes one before this does not start it, and ends it likewise."""

    every_seconds = 1.0

    def __init__(self, store: Store, settings: Settings) -> None:
        super().__init__(store)
        self.settings = settings

    async def do(self, shard: int) -> None:
        await expire(self.store.tasks, self.store.handlers, self.settings, shard)
