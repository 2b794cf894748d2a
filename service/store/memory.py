"""
How full Redis is. Submissions stop below its own limit, because finishing a task needs memory too; then large results
are left out, and the janitor lets the oldest successes go.

Asks at most once a second, and only while somebody wants to know; knows the answer of a second ago.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from redis.asyncio.cluster import RedisCluster

from service.errors import StoreFull
from service.store.connection import FAILURES, RETRY_AFTER, Client
from service.store.endings import Ending

EVERY_SECONDS = 1.0
MOST_RESULT_BYTES = 4096  # of a result that is kept while Redis is full


class MemoryWatch:
    """
    Refuses submissions while Redis is fuller than *ratio* of its `maxmemory`, or than *most_bytes* unless that is 0
    (on a cluster: any node).
    """

    def __init__(self, client: Client, ratio: float, most_bytes: int = 0) -> None:
        self.client, self.ratio, self.most_bytes = client, ratio, most_bytes
        self.full: str | None = None
        self.asked = 0.0
        self.asking: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raises StoreFull when Redis was too full at the last look; looks again in the background."""
        if self.is_full():
            raise StoreFull(self.full or "", headers=RETRY_AFTER)

    def relieve(self, ending: Ending) -> None:
        """While Redis is full, leave a large result of *ending* out; that it was is recorded."""
        if ending.result is not None and len(ending.result) > MOST_RESULT_BYTES and self.is_full():
            ending.dropped_bytes = len(ending.result)
            ending.result = None

    def is_full(self) -> bool:
        """Whether Redis was too full at the last look; looks again in the background."""
        now = time.monotonic()
        if now - self.asked > EVERY_SECONDS and self.asking is None:
            self.asked = now
            self.asking = asyncio.create_task(self.look())
        return self.full is not None

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
        if self.most_bytes and used >= self.most_bytes:
            return (
                f"Redis uses {used:,} bytes, over the {self.most_bytes:,} up to which tasks are taken in. Wait until "
                "running work has freed some, or raise TASKPOST_MAX_MEMORY_BYTES."
            )
        if not limit or used < limit * self.ratio:
            return None
        return (
            f"Redis uses {used:,} of {limit:,} bytes, over the share of {self.ratio:g} up to which tasks are taken in. "
            "Wait until running work has freed some, raise maxmemory, or raise TASKPOST_MAX_MEMORY_RATIO."
        )
