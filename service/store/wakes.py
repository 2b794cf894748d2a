"""
Wake-up markers: raised by the scripts that add work, waited for by workers that have none.

A marker carries nothing and means "work now"; losing one costs time, never a task.
"""

from __future__ import annotations

from redis.asyncio.cluster import RedisCluster

from service.store import keys
from service.store.connection import FAILURES, Client, translated
from service.store.scripts import Scripts
from service.task import LETTERS

BLOCK_SECONDS = 5.0
NUDGE_MS = 60_000
# What `nudge` raises with, and `tell.lua`; the other scripts raise markers with an empty member.
NUDGE, COMMAND = b"n", b"c"


class WakeReader:
    """Waits for markers; *client* is one of its own, made for blocking reads of `BLOCK_SECONDS`."""

    def __init__(self, client: Client, scripts: Scripts) -> None:
        self.client, self.scripts = client, scripts

    def groups(self, shards: int) -> list[list[int]]:
        """Shards that one connection can wait for together."""
        if isinstance(self.client, RedisCluster):
            return [[shard] for shard in range(shards)]
        return [list(range(shards))]

    def of_work(self, shard: int, queue: str, lane: str) -> str:
        return keys.wake(shard, queue, LETTERS[lane].decode())

    def of_worker(self, shard: int, worker: str) -> str:
        return keys.wake_worker(shard, worker)

    def of_queues(self, shard: int) -> str:
        return keys.wake_queues(shard)

    def of_schedules(self, shard: int) -> str:
        return keys.wake_schedules(shard)

    async def wait(self, markers: list[str]) -> tuple[str, bytes] | None:
        """
        The first of *markers* that is raised, and with what; None after five seconds.

        Raises:
            StoreUnavailable: Redis did not answer; markers may have been lost.
        """
        try:
            reply = await self.client.execute_command("BZPOPMIN", *markers, BLOCK_SECONDS)
        except FAILURES as exc:
            raise translated(exc) from exc
        return (reply[0].decode(), reply[1]) if reply else None

    async def hoist(self, marker: str) -> None:
        """Raise a marker again that was taken and could not be served."""
        await self.scripts.command("ZADD", marker, 0, b"")

    async def nudge(self, shard: int, worker: str) -> None:
        """
        Let *worker* look again at what it waits for in *shard*; its marker goes if it does not any more.

        Raises:
            StoreUnavailable, StoreFull: see `Scripts.call`.
        """
        await self.scripts.call(shard, "nudge", worker, NUDGE, NUDGE_MS)

    async def close(self) -> None:
        await self.client.aclose()
