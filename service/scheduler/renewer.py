"""
Seals anew what never ends by itself: settings, secrets and schedules, after the keys of encryption were changed.

Tasks are left as they are; they go in their time. The fact to know: while processes with other keys still write,
one look is not enough, so that it is looked again every hour.
"""

from __future__ import annotations

import logging
import time

from service.errors import TaskpostError
from service.store import Store
from service.store.fields import KEYS, Fields

log = logging.getLogger("taskpost.scheduler")

AGAIN_SECONDS = 3600.0


class Renewer:
    """Any number of schedulers may do it at once: who comes second finds it done."""

    every_seconds = 2.0

    def __init__(self, store: Store) -> None:
        self.store = store
        self.due_at = 0.0

    async def run(self) -> None:
        """Do it if it is time, for all shards; what fails is said, and left to the next time."""
        keyring = self.store.tasks.keyring
        if not keyring.keys or time.monotonic() < self.due_at:
            return
        self.due_at = time.monotonic() + AGAIN_SECONDS
        try:
            renewed = int(await self.store.completions.secret.renew())
            for letter in KEYS:
                renewed += await Fields(self.store.scripts, letter, keyring).renew()
            for shard in range(self.store.shards):
                renewed += await self.store.schedules.renew(shard)
        except TaskpostError as exc:
            log.warning("renewer: %s", exc)
            return
        if renewed:
            log.info("%d settings and schedules were written anew by %r", renewed, keyring)
