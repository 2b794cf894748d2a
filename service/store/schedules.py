"""
Schedules in Redis: saved, found, read when they are due, fired.

A schedule lives in one shard, by its name, with the tasks that it makes, so that one script moves it on and creates
its task. Nothing here decides when something fires or what a task is.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.backfill import Backfill, parse_due
from service.errors import PayloadUnreadable
from service.flow import Flow
from service.schedule import HEADER_BYTES, Happened, Schedule, pack, parse, parse_row
from service.sealing import version_of
from service.store import keys
from service.store.tasks import Tasks

log = logging.getLogger("taskpost.store")

MOST_A_CALL = 128
MOST_BYTES = 1024 * 1024
# What a record raises that cannot be read: one of a later version of Taskpost, or sealed by a key that is not here.
UNREADABLE = (ValueError, KeyError, struct.error, PayloadUnreadable)
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
    flow: Flow | None = None

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


@dataclass(slots=True)
class Due:
    """What is due in a shard at *now_ms*; *next_ms* is when the next one is, None when none is known."""

    now_ms: int
    next_ms: int | None
    schedules: list[Schedule] = field(default_factory=list)
    backfills: list[Backfill] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


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
        # A call whose answer was lost is sent again, and then finds what it has done itself.
        schedule.definition["edit"] = secrets.token_hex(8)
        record = pack(schedule, self.tasks.keyring)
        saved, found = await self.put(schedule.member, read_version, record, "" if due_ms is None else due_ms)
        return saved or (found is not None and found.definition.get("edit") == schedule.definition["edit"]), found

    async def drop(self, member: str, read_version: int) -> tuple[bool, Schedule | None]:
        """Remove a schedule of *read_version*, and its history: whether it was, and what it was. Raises as `save`."""
        return await self.put(member, read_version, b"", "")

    async def put(
        self, member: str, read_version: int, record: bytes, due_ms: int | str
    ) -> tuple[bool, Schedule | None]:
        wanted = "" if read_version == ANY else read_version
        status, found = await self.scripts.call(self.shard_of(member), "save", member, wanted, record, due_ms)
        return bool(status), parse(member, found, self.tasks.keyring) if found else None

    async def read(self, member: str) -> Schedule | None:
        """The schedule of that name."""
        record = await self.scripts.command("GET", keys.schedule(self.shard_of(member), member))
        return parse(member, record, self.tasks.keyring) if record else None

    async def page(self, namespace: str, limit: int, after: str = "") -> list[Schedule]:
        """Up to *limit* schedules of *namespace*, by name, those after the name *after*."""
        least, most = f"({namespace}/{after}", f"({namespace}0"  # 0 is the character after /
        ranges = [
            self.scripts.command("ZRANGEBYLEX", keys.schedules(shard), least, most, "LIMIT", 0, limit)
            for shard in range(self.tasks.shards)
        ]
        members = sorted(member.decode() for found in await asyncio.gather(*ranges) for member in found)[:limit]
        found = await asyncio.gather(*(self.read_if_possible(member) for member in members))
        return [one for one in found if one is not None]

    async def read_if_possible(self, member: str) -> Schedule | None:
        """As `read`; of one that cannot be read the log says why."""
        try:
            return await self.read(member)
        except UNREADABLE as exc:
            log.error("the schedule %s cannot be read: %s", member, exc)
            return None

    async def renew(self, shard: int) -> int:
        """Write anew the definitions of *shard* that are not sealed as they would be now; how many."""
        renewed = 0
        for member in map(bytes.decode, await self.scripts.command("ZRANGE", keys.schedules(shard), 0, -1)):
            record = await self.scripts.command("GET", keys.schedule(shard, member))
            if not record or version_of(record[HEADER_BYTES:]) == self.tasks.keyring.newest:
                continue
            schedule = await self.read_if_possible(member)
            if schedule is not None:
                renewed += (await self.save(schedule, schedule.version, None))[0]
        return renewed

    async def history(self, member: str) -> list[Happened]:
        """What became of its last 100 occurrences, the newest first."""
        rows = await self.scripts.command("LRANGE", keys.schedule_rows(self.shard_of(member), member), 0, -1)
        return [parse_row(row) for row in rows]

    # ------------------------------------------------------------ fire

    async def due(self, shard: int) -> Due:
        """What of *shard* is due, the longest due first; up to 128, and about a megabyte."""
        now_ms, next_ms, *found = await self.scripts.call(shard, "due", MOST_A_CALL)
        self.tasks.clock.hear(now_ms)
        due = Due(now_ms, next_ms if next_ms >= 0 else None)
        for member, record in zip(found[::2], found[1::2], strict=True):
            place = member.decode()
            try:
                if "#" in place:
                    due.backfills.append(parse_due(place, record, self.tasks.keyring))
                else:
                    due.schedules.append(parse(place, record, self.tasks.keyring))
            except UNREADABLE as exc:
                log.error("%s cannot be read: %s", place, exc)
                due.unreadable.append(place)
        return due

    async def put_off(self, shard: int, until_ms: Mapping[str, int]) -> None:
        """Have these looked at again at those times, so that they do not stand before others that are due."""
        if until_ms:
            pairs = [part for place, ms in until_ms.items() for part in (ms, place)]
            await self.scripts.command("ZADD", keys.due_schedules(shard), "XX", *pairs)

    async def fire(self, shard: int, shots: Sequence[Shot]) -> tuple[bytes, list[bytes]]:
        """
        Carry out *shots*, one a schedule, up to 128: a status for each (see fire.lua), and for each C the id of the
        task to be cancelled first. Those beyond a megabyte go with a next call.

        Raises:
            StoreUnavailable: no answer. Reading again tells what took effect.
            StoreFull: Redis is too full; some may have been fired.
        """
        self.tasks.memory.check()
        statuses, blocking = b"", list[bytes]()
        for part in parts_of(shots):
            answered, ids = await self.fire_call(shard, part)
            statuses, blocking = statuses + answered, blocking + ids
        return statuses, blocking

    async def fire_call(self, shard: int, shots: Sequence[Shot]) -> tuple[bytes, list[bytes]]:
        await self.tasks.flows.declare(shard, [shot.flow for shot in shots if shot.flow is not None])
        args: list[Any] = []
        for shot in shots:
            args += shot.arguments()
            args[-1] = self.tasks.sealed(shot.id, shot.record) if shot.record else shot.record
        now_ms, statuses, blocking = await self.scripts.call(shard, "fire", *args)
        self.tasks.clock.hear(now_ms)
        return statuses, [blocking[i : i + 16] for i in range(0, len(blocking), 16)]


def parts_of(shots: Sequence[Shot]) -> Iterator[list[Shot]]:
    """*shots* in parts that each fit in a call; one that is larger than that goes alone."""
    part: list[Shot] = []
    size = 0
    for shot in shots:
        if part and size + len(shot.record) > MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(shot)
        size += len(shot.record)
    if part:
        yield part
