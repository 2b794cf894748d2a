"""
Deals the limits of queues to the shards that have work for them, and mends gates that a process left behind.

With one shard there is nothing to deal; a look tells that all is as the settings say.
"""

from __future__ import annotations

import logging

from service.errors import TaskpostError
from service.store import Store
from service.store.limits import DEAL_SECONDS

log = logging.getLogger("taskpost.scheduler")


class Dealer:
    """Any number of schedulers may deal at once: one of them comes too late, and leaves it to the other."""

    every_seconds = DEAL_SECONDS

    def __init__(self, store: Store) -> None:
        self.store = store

    async def run(self) -> None:
        """Do it once for all queues; what fails is said, and left to the next time."""
        try:
            book = await self.store.queue_book.renew()
            await self.store.limits.reconcile(book.by_stored_name())
        except TaskpostError as exc:
            log.warning("dealer: %s", exc)
