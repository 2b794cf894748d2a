"""
Backfills in Redis, with the schedule that they are of: begun, carried out in slices, aborted.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.backfill import Backfill, pack, parse
from service.flow import flows_of
from service.schedule import pack_definition
from service.store import keys
from service.store.schedules import Schedules

MOST_RUNNING = 10
MOVED, FILLED, WAITS = range(3)


class Backfills:
    """All about backfills. One for each `Store`."""

    def __init__(self, schedules: Schedules) -> None:
        self.schedules, self.tasks, self.scripts = schedules, schedules.tasks, schedules.scripts

    async def begin(self, backfill: Backfill) -> bool | None:
        """
        Whether it is begun: False when too many of its schedule are under way, None when there is no such schedule.

        Raises:
            StoreUnavailable: no answer; it may have begun.
        """
        if backfill.schedule is None:
            raise ValueError("a backfill goes by a schedule")
        definition = pack_definition(backfill.schedule, self.tasks.keyring)
        shard, args = self.schedules.shard_of(backfill.member), (backfill.id, pack(backfill), definition, MOST_RUNNING)
        status = await self.scripts.call(shard, "backfill", backfill.member, *args)
        return {0: None, 1: True}.get(status, False)

    async def fill(
        self,
        backfill: Backfill,
        made: Sequence[tuple[int, bytes, bytes]],
        next_due_ms: int,
        *,
        waits: bool,
        is_last: bool,
    ) -> int:
        """
        Create the tasks *made* of its next occurrences, (occurrence, id, record) each, up to 128 and 1 MiB: `FILLED`;
        `MOVED` when somebody else was faster; `WAITS` when it *waits* for its last task, which has not ended.

        Raises:
            StoreUnavailable: no answer. Reading again tells what took effect.
            StoreFull: nothing changed.
        """
        if made:
            self.tasks.memory.check()
        last_ms = made[-1][0] if made else backfill.last_ms
        times = b"".join(ms.to_bytes(6, "big") for ms in (backfill.last_ms, last_ms, next_due_ms))
        head = times + (b"q" if waits else b"a") + (b"1" if is_last else b"0")
        args = [
            part
            for ms, id_, record in made
            for part in (ms.to_bytes(6, "big") + id_, self.tasks.sealed(id_, record))
        ]
        shard = self.schedules.shard_of(backfill.member)
        if made and (schedule := backfill.schedule) is not None:
            await self.tasks.flows.declare(shard, flows_of([schedule.definition["task"]], schedule.namespace))
        now_ms, status = await self.scripts.call(shard, "fill", backfill.member, backfill.id, head, *args)
        self.tasks.clock.hear(now_ms)
        return int(status)

    async def abort(self, member: str, id_: str) -> Backfill | None:
        """Stop it, if it is under way: as it stands then; None when there is none of that id."""
        record = await self.scripts.call(self.schedules.shard_of(member), "abandon", member, id_)
        return parse(member, id_, record) if record else None

    async def read(self, member: str, id_: str) -> Backfill | None:
        """The backfill of that id."""
        key = keys.schedule_backfills(self.schedules.shard_of(member), member)
        record = await self.scripts.command("HGET", key, id_)
        return parse(member, id_, record) if record else None

    async def list(self, member: str) -> list[Backfill]:
        """Those of a schedule, the newest first."""
        key = keys.schedule_backfills(self.schedules.shard_of(member), member)
        ids = [id_.decode() for id_ in await self.scripts.command("HKEYS", key) if not id_.startswith(b"#")]
        if not ids:
            return []
        records = await self.scripts.command("HMGET", key, *ids)
        found = [parse(member, id_, record) for id_, record in zip(ids, records, strict=True) if record]
        return sorted(found, key=lambda one: (one.asked["created_ms"], one.id), reverse=True)
