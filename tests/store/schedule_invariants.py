"""
What must hold of the schedules of a shard: each is listed, due when it is active and only then, and what belongs to it
goes with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MOST_ROWS, ROW_BYTES = 100, 29
MOST_BACKFILLS = 30  # ten under way, and twenty that have ended


def schedule_faults(shard: Any) -> list[str]:
    """Everything that does not agree. *shard*: see invariants.py."""
    records = {name[2:]: text for name, text in shard.strings.items() if name.startswith(b"s:")}
    backfills = {name[3:]: fields for name, fields in shard.hashes.items() if name.startswith(b"sb:")}
    due = shard.zsets.get(b"sched", {})
    listed = shard.zsets.get(b"schedules", {}).keys()
    faults = [f"{member!r} is only in one of `schedules` and s:" for member in records.keys() ^ listed]
    expected: set[bytes] = set()
    for member, record in records.items():
        faults += record_faults(member, record)
        if record[1:2] == b"A":
            expected.add(member)
    for member, fields in backfills.items():
        if member not in records:
            faults.append(f"sb: of {member!r}, which is no schedule")
        faults += backfill_faults(member, fields)
        expected |= {member + b"#" + id_ for id_, text in fields.items() if id_[:1] != b"#" and text[1:2] == b"R"}
    faults += [f"{place!r} is only in one of `sched` and what is active" for place in expected ^ due.keys()]
    for name, rows in shard.lists.items():
        if name.startswith(b"sh:"):
            if name[3:] not in records:
                faults.append(f"{name!r} is of no schedule")
            if len(rows) > MOST_ROWS or any(len(row) != ROW_BYTES or row[:1] not in b"FRBSQM" for row in rows):
                faults.append(f"{name!r} holds what is no history: {rows}")
    return faults


def record_faults(member: bytes, record: bytes) -> Iterator[str]:
    state, next_ms = record[1:2], int.from_bytes(record[6:12], "big")
    pending_ms = int.from_bytes(record[22:28], "big")
    if state == b"A" and not next_ms and not pending_ms:
        yield f"{member!r} is active and will never fire"
    if state == b"E" and (next_ms or pending_ms):
        yield f"{member!r} has ended and would fire"
    if state not in (b"A", b"P", b"E"):
        yield f"{member!r} is in the state {state!r}"


def backfill_faults(member: bytes, fields: dict[bytes, bytes]) -> Iterator[str]:
    records = {id_: text for id_, text in fields.items() if id_[:1] != b"#"}
    running = {id_ for id_, text in records.items() if text[1:2] == b"R"}
    if {b"#" + id_ for id_ in running} != {id_ for id_ in fields if id_[:1] == b"#"}:
        yield f"the backfills of {member!r} and what they go by differ"
    if len(records) > MOST_BACKFILLS:
        yield f"{member!r} has {len(records)} backfills"
