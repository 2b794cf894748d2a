"""
A schedule as it is kept: a header that changes with each firing, and the definition, which users change.

Pure. The fact to know: scripts move the header by fixed places (fire.lua and save.lua read the same bytes), so that
firing writes 44 bytes, whatever the definition weighs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from service.ids import encode_id
from service.recurrence.timing import InvalidTiming, Timing, timing_of
from service.sealing import Keyring
from service.task import rfc3339

FORMAT = 1
# format, state, version, next and last occurrence (ms in 2 + 4 bytes), runs, one that waits for its turn, last task
HEADER = struct.Struct(">BcIHIHIIHI16s")
HEADER_BYTES = HEADER.size
NO_TASK = bytes(16)
DEFINITION = b"definition"  # as what it is sealed

ACTIVE, PAUSED, OVER = b"A", b"P", b"E"
STATE_OF = {ACTIVE: "active", PAUSED: "paused", OVER: "ended"}
MISFIRES = ("skip", "once", "all")
OVERLAPS = ("allow", "skip", "queue_one", "cancel_running")
TIMING = (
    "cron", "every_seconds", "anchor_at", "calendar", "at", "timezone", "start_at", "end_at", "jitter_seconds",
)  # fmt: skip
GRACE_SECONDS = 60.0


@dataclass(slots=True)
class Schedule:
    """
    A schedule as it stands. Times are ms since the epoch, 0 for none: *next_ms* the occurrence to come, *last_ms* the
    last that fired, *pending_ms* one that waits until the task of the last has ended.
    """

    namespace: str
    name: str
    definition: dict[str, Any]
    state: bytes = ACTIVE
    version: int = 1
    next_ms: int = 0
    last_ms: int = 0
    runs: int = 0
    pending_ms: int = 0
    last_id: bytes = NO_TASK

    @property
    def member(self) -> str:
        """Its name among all namespaces."""
        return f"{self.namespace}/{self.name}"

    @property
    def misfire(self) -> str:
        return str(self.definition.get("misfire", "once"))

    @property
    def overlap(self) -> str:
        return str(self.definition.get("overlap", "allow"))

    @property
    def grace_ms(self) -> int:
        return int(self.definition.get("misfire_grace_seconds", GRACE_SECONDS) * 1000)

    @property
    def max_runs(self) -> int:
        """0: no bound."""
        return int(self.definition.get("max_runs", 0))

    def timing(self, zone: str) -> Timing:
        """When it fires; *zone* is that of schedules that name none. Raises InvalidTiming."""
        return timing_for(self.member, self.definition, self.definition["created_ms"], zone)


def timing_for(member: str, definition: Mapping[str, Any], created_ms: int, zone: str) -> Timing:
    """The timing of a definition. Raises InvalidTiming."""
    fields = {name: definition[name] for name in TIMING if name in definition}
    return timing_of(fields, seed=member, created_at=moment(created_ms), zone=zone)


def pack(schedule: Schedule, keyring: Keyring) -> bytes:
    """The record, its definition sealed where there are keys."""
    head = HEADER.pack(
        FORMAT, schedule.state, schedule.version, *split48(schedule.next_ms), *split48(schedule.last_ms),
        schedule.runs, *split48(schedule.pending_ms), schedule.last_id,
    )  # fmt: skip
    return head + pack_definition(schedule, keyring)


def pack_definition(schedule: Schedule, keyring: Keyring) -> bytes:
    """The definition as it is stored."""
    return keyring.closed(orjson.dumps(schedule.definition), schedule.namespace, schedule.name.encode(), DEFINITION)


def read_definition(namespace: str, name: str, stored: bytes, keyring: Keyring) -> dict[str, Any]:
    """What `pack_definition` packed. Raises PayloadUnreadable, ValueError."""
    definition: dict[str, Any] = orjson.loads(keyring.opened(stored, namespace, name.encode(), DEFINITION))
    return definition


def parse(member: str, record: bytes, keyring: Keyring) -> Schedule:
    """What `pack` packed. Raises ValueError, struct.error for what it did not, and PayloadUnreadable."""
    namespace, _, name = member.partition("/")
    (number, state, version, next_high, next_low, last_high, last_low, runs, pending_high, pending_low, last_id) = (
        HEADER.unpack_from(record)
    )
    if number != FORMAT:
        raise ValueError(f"{member} is of format {number}, which this version of Taskpost does not know")
    return Schedule(
        namespace, name, read_definition(namespace, name, record[HEADER_BYTES:], keyring), state, version,
        next_high << 32 | next_low, last_high << 32 | last_low, runs, pending_high << 32 | pending_low, last_id,
    )  # fmt: skip


def split48(ms: int) -> tuple[int, int]:
    return ms >> 32, ms & 0xFFFFFFFF


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)


def ms_of(when: datetime) -> int:
    return int(when.timestamp()) * 1000 + when.microsecond // 1000


@dataclass(slots=True)
class Happened:
    """One row of a schedule's history: what became of an occurrence."""

    kind: str  # see KINDS
    fire_ms: int
    at_ms: int
    task_id: bytes | None
    missed: int = 0


# Of a definition: what its user did not write.
HIDDEN = ("created_ms", "updated_ms", "target", "edit")

KINDS = {b"F": "fired", b"R": "run_by_hand", b"B": "backfilled", b"S": "skipped", b"Q": "put_off", b"M": "missed"}


def parse_row(row: bytes) -> Happened:
    """A row as fire.lua writes it: kind, occurrence (6), when (6), id (16) or how many were missed."""
    kind = KINDS[row[:1]]
    fire_ms, at_ms, rest = int.from_bytes(row[1:7], "big"), int.from_bytes(row[7:13], "big"), row[13:29]
    if kind == "missed":
        return Happened(kind, fire_ms, at_ms, None, int.from_bytes(rest[:4], "big"))
    return Happened(kind, fire_ms, at_ms, rest if rest != NO_TASK else None)


def local_text(when: datetime, timing: Timing) -> str:
    """*when* as a local time of the timing's zone, with its offset."""
    local = when.astimezone(timing.zone)
    return local.isoformat(timespec="milliseconds" if local.microsecond else "seconds")


def owner_of(definition: Mapping[str, Any]) -> dict[str, str] | None:
    """The application and version that declare it."""
    owner = definition.get("owner")
    return {"application": owner["application"], "version": owner["version"]} if owner else None


def shown(schedule: Schedule, zone: str, last_state: str | None) -> dict[str, Any]:
    """The contract's `Schedule`; *last_state* is how its last task stands."""
    definition, next_run, is_coming = schedule.definition, None, schedule.next_ms and schedule.state == ACTIVE
    kept = {name: value for name, value in definition.items() if name not in HIDDEN}
    try:
        timing = schedule.timing(zone)
        explanation, zone = timing.explain(), timing.zone.key
        next_run = timing.due_at(moment(schedule.next_ms)) if is_coming else None
    except InvalidTiming as exc:  # a zone that this machine does not know any more; the others fire all the same
        explanation, zone = f"Cannot fire: {exc}", definition.get("timezone", zone)
    if schedule.last_id != NO_TASK:
        last = {"fire_time": rfc3339(schedule.last_ms), "task_id": encode_id(schedule.last_id)}
        kept["last_run"] = last | ({"state": last_state} if last_state else {})
    if owner := owner_of(definition):
        kept["owner"] = owner
    return {
        "name": schedule.name,
        **kept,
        "timezone": zone,
        "misfire": schedule.misfire,
        "misfire_grace_seconds": schedule.grace_ms / 1000,
        "overlap": schedule.overlap,
        "paused": schedule.state == PAUSED,
        "state": STATE_OF[schedule.state],
        "explanation": explanation,
        "next_run_at": rfc3339(ms_of(next_run)) if next_run else None,
        "next_run_local": local_text(next_run, timing) if next_run else None,
        "runs": schedule.runs,
        "version": schedule.version,
        "created_at": rfc3339(definition["created_ms"]),
        "updated_at": rfc3339(definition["updated_ms"]),
    }
