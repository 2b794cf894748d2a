"""
Waits until tasks are on disk, or at a replica, for those who ask for that.

The fact to know: a server writes its append-only file and feeds its replicas in the order of its commands. So one write
behind the tasks, waited for, stands for all before it, and however many ask while a wait is under way share the next.
That the tasks are there is looked at before that write, on the same connection: after a failover they may not be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ResponseError

from service.errors import DurabilityMissing, NotDurable
from service.ids import encode_id, shard_of
from service.store import keys
from service.store.collector import Collector
from service.store.connection import FAILURES, RETRY_AFTER, translated
from service.store.scripts import Scripts

MEMORY, FSYNC, REPLICA = "memory", "fsync", "replica"
WAIT_MS = 3000  # a disk that is written once a second, and is late
MOST_A_CALL = 1000
FRESH_SECONDS = 5.0
WAITS: dict[str, tuple[Any, ...]] = {FSYNC: ("WAITAOF", 1, 0), REPLICA: ("WAIT", 1)}
# What tells whether there is anything to wait for. How far that has come is no matter: a millisecond, and any answer.
LOOKS: dict[str, tuple[Any, ...]] = {FSYNC: ("WAITAOF", 1, 0, 1), REPLICA: ("INFO", "replication")}
NEEDS = {
    FSYNC: "Redis from 7.2 on, or Valkey, with appendonly yes",
    REPLICA: "a replica, and that INFO tells of it",
}
WHERE = {FSYNC: "on disk", REPLICA: "at a replica"}


class Fences:
    """One for each `Store`."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts
        self.collectors: dict[tuple[str, int], Collector[bytes, bool]] = {}
        self.seen: dict[str, float] = {}

    async def require(self, durability: str) -> None:
        """
        Nothing is stored for it that could not be waited for.

        Raises:
            DurabilityMissing: Redis cannot do that.
            NotDurable: no replica is there now.
            StoreUnavailable: it did not answer.
        """
        if time.monotonic() - self.seen.get(durability, float("-inf")) < FRESH_SECONDS:
            return
        try:
            (reply,) = await self.in_turn(0, [LOOKS[durability]])
            if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
                raise reply
        except FAILURES as exc:
            raise translated(exc) from exc
        if isinstance(reply, ResponseError):
            detail = f'durability "{durability}" needs {NEEDS[durability]}'
            fault = {"pointer": "/durability", "detail": f"{detail}; it says: {reply}"}
            raise DurabilityMissing(f"{detail}. Nothing was stored.", errors=[fault])
        if isinstance(reply, dict) and not reply.get("connected_slaves"):
            raise NotDurable(
                'Durability "replica" needs a replica, and none is connected to Redis now. Nothing was stored.',
                headers=RETRY_AFTER,
            )
        self.seen[durability] = time.monotonic()

    async def wait(self, durability: str, ids: Sequence[bytes]) -> dict[bytes, NotDurable]:
        """Wait until the tasks of *ids* are where they shall be: those of which that is not known, each with why."""
        by_shard: dict[int, list[bytes]] = {}
        for id_ in ids:
            by_shard.setdefault(shard_of(id_), []).append(id_)
        groups = [
            (shard, some[start : start + MOST_A_CALL])
            for shard, some in by_shard.items()
            for start in range(0, len(some), MOST_A_CALL)
        ]
        answers = await asyncio.gather(*(self.put(durability, shard, group) for shard, group in groups))
        reached = {id_: one for (_, group), answer in zip(groups, answers, strict=True)
                   for id_, one in zip(group, answer, strict=True)}  # fmt: skip
        return {id_: not_durable(id_, durability) for id_, is_there in reached.items() if not is_there}

    def put(self, durability: str, shard: int, ids: list[bytes]) -> asyncio.Future[list[bool]]:
        collector = self.collectors.get((durability, shard))
        if collector is None:

            async def call(ids: list[bytes]) -> list[bool]:
                return await self.reached(durability, shard, ids)

            collector = self.collectors[durability, shard] = Collector(call, most=MOST_A_CALL)
        return collector.put(ids, 0)

    async def reached(self, durability: str, shard: int, ids: list[bytes]) -> list[bool]:
        """Whether each task is known to be where it shall be: all of them, or none when one is not there any more."""
        look, fence = ("EXISTS", *map(keys.record, ids)), ("SET", keys.fence(shard), b"")
        try:
            found, written, waited = await self.in_turn(shard, [look, fence, (*WAITS[durability], WAIT_MS)])
        except FAILURES:
            return [False] * len(ids)
        is_over = found == len(ids) and not isinstance(written, Exception) and is_reached(waited)
        return [is_over] * len(ids)

    async def in_turn(self, shard: int, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send *commands* to the server of *shard*, one behind the other on one connection; errors are answers."""
        client = self.scripts.client
        async with self.scripts.turns:
            pipeline: Any
            if isinstance(client, RedisCluster):
                await client.initialize()
                pipeline, where = client.pipeline(), {"target_nodes": client.get_node_from_key(keys.conf(shard))}
            else:
                pipeline, where = client.pipeline(transaction=False), {}
            for command in commands:
                pipeline.execute_command(*command, **where)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
            return answers


def is_reached(reply: Any) -> bool:
    """Whether WAIT or WAITAOF answers that one place, at least, has it."""
    many = reply[0] if isinstance(reply, list) else reply
    return isinstance(many, int) and many > 0


def not_durable(id_: bytes, durability: str) -> NotDurable:
    text = encode_id(id_)
    return NotDurable(
        f"Task {text} was taken in and may run, but that it is {WHERE[durability]} was not confirmed within "
        f"{WAIT_MS // 1000} seconds. Send the submission again with the same Idempotency-Key to wait for it once more.",
        headers=RETRY_AFTER,
        task_id=text,
    )
