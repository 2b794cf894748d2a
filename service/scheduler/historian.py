"""
Notes how much the queues hold, three times a minute, adds up what counters tell, and keeps statistics small: older ones
in larger buckets.
"""

from __future__ import annotations

from service.scheduler.duty import Duty


class Historian(Duty):
    """Of what several schedulers note in a minute the most stands, and a bucket is put into a larger one once."""

    every_seconds = 20.0

    async def do(self, shard: int) -> None:
        await self.store.statistics.gauge(shard)
        await self.store.statistics.total(shard)
        await self.store.statistics.condense(shard)
