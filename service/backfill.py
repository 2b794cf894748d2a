"""
A backfill as it is kept: how far it has come, and what was asked for.

Pure. The fact to know: a backfill goes by the schedule as it was when it was asked for, whatever becomes of that
schedule meanwhile, and by its own place: what has fired is never looked for, so that it repeats nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import orjson

from service.ids import encode_id
from service.schedule import NO_TASK, Schedule, read_definition, split48
from service.sealing import Keyring
from service.task import rfc3339

FORMAT = 1
# format, state, last occurrence, how many were fired, last task, when it ended; scripts read the same bytes
HEADER = struct.Struct(">BcHII16sHI")
RUNNING, DONE, ABORTED = b"R", b"D", b"A"
STATE_OF = {RUNNING: "running", DONE: "done", ABORTED: "aborted"}
OVERLAPS = {"allow": b"a", "one_by_one": b"q"}


@dataclass(slots=True)
class Backfill:
    """
    One backfill of the schedule *member*. *asked*: start_ms and end_ms, both included, rate_per_second, overlap, total
    and created_ms. *schedule* is what it goes by; only one that is under way has it.
    """

    member: str
    id: str
    asked: dict[str, Any]
    state: bytes = RUNNING
    last_ms: int = 0
    done: int = 0
    last_id: bytes = NO_TASK
    ended_ms: int = 0
    schedule: Schedule | None = None

    @property
    def place(self) -> str:
        """Its name among schedules and backfills."""
        return f"{self.member}#{self.id}"

    @property
    def rate_per_second(self) -> float:
        return float(self.asked["rate_per_second"])


def pack(backfill: Backfill) -> bytes:
    """The record."""
    head = HEADER.pack(
        FORMAT, backfill.state, *split48(backfill.last_ms), backfill.done, backfill.last_id,
        *split48(backfill.ended_ms),
    )  # fmt: skip
    return head + orjson.dumps(backfill.asked)


def parse(member: str, id_: str, record: bytes) -> Backfill:
    """What `pack` packed. Raises ValueError, struct.error."""
    number, state, last_high, last_low, done, last_id, ended_high, ended_low = HEADER.unpack_from(record)
    if number != FORMAT:
        raise ValueError(f"the backfill {id_} is of format {number}, which this version of Taskpost does not know")
    asked = orjson.loads(record[HEADER.size :])
    return Backfill(member, id_, asked, state, last_high << 32 | last_low, done, last_id, ended_high << 32 | ended_low)


def parse_due(place: str, text: bytes, keyring: Keyring) -> Backfill:
    """A backfill that is due, as due.lua reads it: with the schedule that it goes by. Raises as `schedule.parse`."""
    member, _, id_ = place.partition("#")
    length = int.from_bytes(text[:4], "big")
    found = parse(member, id_, text[4 : 4 + length])
    namespace, _, name = member.partition("/")
    found.schedule = Schedule(namespace, name, read_definition(namespace, name, text[4 + length :], keyring))
    return found


def shown(backfill: Backfill) -> dict[str, Any]:
    """The contract's `Backfill`."""
    asked = backfill.asked
    return {
        "id": backfill.id,
        "state": STATE_OF[backfill.state],
        "start_at": rfc3339(asked["start_ms"]),
        "end_at": rfc3339(asked["end_ms"]),
        "rate_per_second": backfill.rate_per_second,
        "overlap": asked["overlap"],
        "total": asked["total"],
        "done": backfill.done,
        "last_fire_time": rfc3339(backfill.last_ms) if backfill.done else None,
        "last_task_id": encode_id(backfill.last_id) if backfill.done else None,
        "created_at": rfc3339(asked["created_ms"]),
        "ended_at": rfc3339(backfill.ended_ms) if backfill.ended_ms else None,
    }
