"""
How full Redis is. Submissions stop below its own limit, because finishing a task needs memory too.

Asks at most once a second, and only while submissions arrive; knows the answer of a second ago.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from redis.asyncio.cluster import RedisCluster

from service.errors import StoreFull
from service.store.connection import FAILURES, RETRY_AFTER, Client

EVERY_SECONDS = 1.0


class MemoryWatch:
    """Refuses submissions while Redis is fuller than *ratio* of its `maxmemory` (on a cluster: any node)."""

    def __init__(self, client: Client, ratio: float) -> None:
        self.client, self.ratio = client, ratio
        self.full: str | None = None
        self.asked = 0.0
        self.asking: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raises StoreFull when Redis was too full at the last look; looks again in the background."""
        now = time.monotonic()
        if now - self.asked > EVERY_SECONDS and self.asking is None:
            self.asked = now
            self.asking = asyncio.create_task(self.look())
        if self.full:
            raise StoreFull(self.full, headers=RETRY_AFTER)

    async def look(self) -> None:
        """Ask Redis; when it does not answer, what was known before stands."""
        try:
            many = isinstance(self.client, RedisCluster)
            reply: Any = await (
                self.client.info("memory", target_nodes=RedisCluster.PRIMARIES)
                if many
                else self.client.info("memory")
            )
            nodes = [reply] if "used_memory" in reply else list(reply.values())
            self.full = next((text for text in map(self.verdict, nodes) if text), None)
        except FAILURES:
            pass
        finally:
            self.asking = None

    def verdict(self, info: dict[str, Any]) -> str | None:
        """Why submissions must stop at a node, or None."""
        used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0) or 0)
        if not limit or used < limit * self.ratio:
            return None
        return (
            f"Redis uses {used:,} of {limit:,} bytes, over the share of {self.ratio:g} up to which tasks are taken in. "
            "Wait until running work has freed some, raise maxmemory, or raise TASKPOST_MAX_MEMORY_RATIO."
        )
