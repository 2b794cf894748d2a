"""
What is in the queues: counts, kept by the scripts that move tasks, and the age of the oldest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from service.store import keys
from service.store.replies import pairs_of
from service.store.tasks import Tasks
from service.task import DEFAULT_NAMESPACE, DEFAULT_QUEUE, split_queue

FIELDS = {"q": "queued", "s": "scheduled", "r": "running"}
QUEUES_A_CALL = 50


class Queues:
    """Reads queues over all shards."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks

    async def names(self) -> set[str]:
        """The stored names of all queues that have, or lately had, tasks."""
        return set(await self.counts())

    async def counts(self) -> dict[str, dict[str, int]]:
        """Stored name -> {queued, scheduled, running}, summed over the shards."""
        total: dict[str, dict[str, int]] = {}
        replies = await asyncio.gather(
            *(self.tasks.scripts.command("HGETALL", keys.count(shard)) for shard in range(self.tasks.shards))
        )
        for reply in replies:
            for field, value in pairs_of(reply):
                letter, _, queue = field.decode().partition(":")
                counted = total.setdefault(queue, dict.fromkeys(FIELDS.values(), 0))
                counted[FIELDS[letter]] += int(value)
        return total

    async def list(self, namespace: str) -> list[dict[str, Any]]:
        """The queues of *namespace* by name, each `{name, queued, scheduled, running, oldest_seconds}`."""
        counts = await self.counts()
        mine = {stored: counted for stored, counted in counts.items() if split_queue(stored)[0] == namespace}
        oldest = await self.oldest_seconds(stored for stored, counted in mine.items() if counted["queued"])
        shown = [
            {"name": split_queue(stored)[1], "namespace": namespace, **counted, "oldest_seconds": oldest.get(stored)}
            for stored, counted in sorted(mine.items())
        ]
        if not any(queue["name"] == DEFAULT_QUEUE for queue in shown) and namespace == DEFAULT_NAMESPACE:
            empty = dict.fromkeys(FIELDS.values(), 0)
            shown.append({"name": DEFAULT_QUEUE, "namespace": namespace, **empty, "oldest_seconds": None})
            shown.sort(key=lambda queue: str(queue["name"]))
        return shown

    async def oldest_seconds(self, stored: Iterable[str]) -> dict[str, float]:
        """For how long the longest waiting task of each queue of *stored* has been ready; those have none that lack."""
        wanted, found, clock = list(stored), dict[str, int](), self.tasks.clock

        async def look(shard: int, part: list[str]) -> None:
            now_ms, *since = await self.tasks.scripts.call(shard, "oldest", *part)
            clock.hear(now_ms)
            for name, since_ms in zip(part, since, strict=True):
                if since_ms >= 0:
                    found[name] = min(found.get(name, since_ms), since_ms)

        parts = [wanted[at : at + QUEUES_A_CALL] for at in range(0, len(wanted), QUEUES_A_CALL)]
        await asyncio.gather(*(look(shard, part) for shard in range(self.tasks.shards) for part in parts))
        now_ms = clock.now_ms()
        return {name: max(0.0, (now_ms - since_ms) / 1000) for name, since_ms in found.items()}
