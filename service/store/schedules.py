"""
Schedules in Redis: saved, found, read when they are due, fired.

A schedule lives in one shard, by its name, with the tasks that it makes, so that one script moves it on and creates
its task. Nothing here decides when something fires or what a task is.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from service.schedule import Happened, Schedule, pack, parse, parse_row
from service.store import keys
from service.store.tasks import Tasks

MOST_A_CALL = 128
ANY = -1
NEW = 0


@dataclass(slots=True)
class Shot:
    """
    What is to become of one occurrence of *schedule*: see fire.lua for *kind* and *overlap*. *next_ms* and
    *next_due_ms* are what comes after it.
    """

    schedule: Schedule
    kind: bytes
    nominal_ms: int
    next_ms: int
    next_due_ms: int
    overlap: bytes = b"a"
    id: bytes = b""
    record: bytes = b""
    missed: int = 0

    def arguments(self) -> tuple[str, bytes, bytes]:
        schedule = self.schedule
        numbers = (schedule.next_ms, self.next_ms, self.next_due_ms)
        head = b"%b%b%b%b%b%b%b" % (
            self.kind,
            self.overlap,
            schedule.version.to_bytes(4, "big"),
            b"".join(number.to_bytes(6, "big") for number in numbers),
            schedule.max_runs.to_bytes(4, "big"),
            self.nominal_ms.to_bytes(6, "big"),
            self.id or self.missed.to_bytes(4, "big"),
        )
        return schedule.member, head, self.record


class Schedules:
    """All about schedules. One for each `Store`."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks, self.scripts = tasks, tasks.scripts

    def shard_of(self, member: str) -> int:
        """The shard of `namespace/name`."""
        return int.from_bytes(hashlib.blake2b(member.encode(), digest_size=4).digest(), "big") % self.tasks.shards

    # ------------------------------------------------------------ save and read

    async def save(self, schedule: Schedule, read_version: int, due_ms: int | None) -> tuple[bool, Schedule | None]:
        """
        Save *schedule* if the stored one is of *read_version* (`NEW`: there is none; `ANY`): whether it was, and the
        schedule as it stands then. *due_ms* is when its `next_ms` fires, 0 for never; None keeps both as they are.

        Raises:
            StoreUnavailable: no answer; it may have been saved.
            StoreFull: nothing changed.
        """
        return await self.put(schedule.member, read_version, pack(schedule), "" if due_ms is None else due_ms)

    async def drop(self, member: str, read_version: int) -> tuple[bool, Schedule | None]:
        """Remove a schedule of *read_version*, and its history: whether it was, and what it was. Raises as `save`."""
        return await self.put(member, read_version, b"", "")

    async def put(
        self, member: str, read_version: int, record: bytes, due_ms: int | str
    ) -> tuple[bool, Schedule | None]:
        wanted = "" if read_version == ANY else read_version
        status, found = await self.scripts.call(self.shard_of(member), "save", member, wanted, record, due_ms)
        return bool(status), parse(member, found) if found else None

    async def read(self, member: str) -> Schedule | None:
        """The schedule of that name."""
        record = await self.scripts.command("GET", keys.schedule(self.shard_of(member), member))
        return parse(member, record) if record else None

    async def page(self, namespace: str, limit: int, after: str = "") -> list[Schedule]:
        """Up to *limit* schedules of *namespace*, by name, those after the name *after*."""
        least, most = f"({namespace}/{after}", f"({namespace}0"  # 0 is the character after /
        ranges = [
            self.scripts.command("ZRANGEBYLEX", keys.schedules(shard), least, most, "LIMIT", 0, limit)
            for shard in range(self.tasks.shards)
        ]
        members = sorted(member.decode() for found in await asyncio.gather(*ranges) for member in found)[:limit]
        found = await asyncio.gather(*(self.read(member) for member in members))
        return [one for one in found if one is not None]

    async def history(self, member: str) -> list[Happened]:
        """What became of its last 100 occurrences, the newest first."""
        rows = await self.scripts.command("LRANGE", keys.schedule_rows(self.shard_of(member), member), 0, -1)
        return [parse_row(row) for row in rows]

    # ------------------------------------------------------------ fire

    async def due(self, shard: int) -> tuple[int, int | None, list[Schedule]]:
        """(now, when the next is due that is not yet, schedules of *shard* that are due), the longest due first."""
        now_ms, next_ms, *found = await self.scripts.call(shard, "due", MOST_A_CALL)
        self.tasks.clock.hear(now_ms)
        due = [parse(found[i].decode(), found[i + 1]) for i in range(0, len(found), 2)]
        return now_ms, next_ms if next_ms >= 0 else None, due

    async def fire(self, shard: int, shots: Sequence[Shot]) -> tuple[bytes, list[bytes]]:
        """
        Carry out *shots*, one a schedule, up to 128 and 1 MiB: a status for each (see fire.lua), and for each C the
        id of the task to be cancelled first.

        Raises:
            StoreUnavailable: no answer. Reading again tells what took effect.
            StoreFull: nothing changed.
        """
        args = [part for shot in shots for part in shot.arguments()]
        now_ms, statuses, blocking = await self.scripts.call(shard, "fire", *args)
        self.tasks.clock.hear(now_ms)
        return statuses, [blocking[i : i + 16] for i in range(0, len(blocking), 16)]
