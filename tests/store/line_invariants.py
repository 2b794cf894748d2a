"""
What must hold of flow keys, groups and their lines: who holds a key runs, each line is met or parked by a reason that
holds, and counts are recounts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from service.ids import created_ms
from service.ties import Ties

Home = bytes


def ties_of(record: bytes) -> Ties:
    return Ties.parsed(record[13 : 13 + record[12]].partition(b"\0")[2]) if len(record) > 13 else Ties()


def lined_ties(record: bytes) -> bytes:
    """What decides the line of a task; nothing when it waits in a plain list."""
    ties = ties_of(record)
    return Ties(flow=ties.flow, group=ties.group).packed()


def lines_of(shard: Any) -> Iterator[tuple[bytes, Home, bytes, bytes]]:
    """(key, home, group, flow) of each line that is known."""
    for key, names in shard.zsets.items():
        if key.startswith(b"lined:"):
            for name in names:
                flow, group = (name[3:19], name[19:]) if name[2:3] == b"F" else (b"", name[3:])
                home = b"%b:%b:%b" % (key[6:], name[:1], name[1:2])
                yield b"line:%b:%b:%b" % (home, group, flow), home, group, flow


def line_faults(shard: Any, records: dict[bytes, bytes], runs: dict[bytes, Any]) -> list[str]:
    """Everything that does not agree. *shard*: see invariants.py."""
    known = list(lines_of(shard))
    faults = [f"{name!r} is not known" for name in {one for one in shard.lists if one.startswith(b"line:")} - {
        key for key, *_ in known}]  # fmt: skip
    for line in known:
        faults += place_faults(shard, *line)
    faults += turn_faults(shard)
    return [*faults, *count_faults(shard, records, runs)]


def place_faults(shard: Any, key: bytes, home: Home, group: bytes, flow: bytes) -> Iterator[str]:
    """Of one line: it is met, or parked."""
    since = shard.zsets.get(b"lines:%b:%b" % (home, group), {}).get(flow)
    is_parked = group in shard.zsets.get(b"park:%b:%b" % (flow, home), {})
    if (since is None) == (not is_parked):
        yield f"{key!r} is {'neither met nor' if since is None else 'both met and'} parked"
    entries = shard.lists.get(key, [])
    if since is not None:
        if entries and since != created_ms(entries[0][2:]):
            yield f"{key!r} is met as of {since}, its first task is of {created_ms(entries[0][2:])}"
        if group not in shard.zsets.get(b"turn:" + home, {}):
            yield f"{key!r} may be taken from, and its group has no turn"
        if home[-1:] not in shard.hashes.get(b"tied", {}).get(home[:-2], b""):
            yield f"{key!r} may be taken from, and nobody looks"
    if is_parked:
        if home not in shard.sets.get(b"parks:" + flow, set()):
            yield f"{key!r} is parked where nobody frees it"
        if not holds_back(shard, home, flow):
            yield f"{key!r} is parked, and its key has room"


def holds_back(shard: Any, home: Home, flow: bytes) -> bool:
    """Whether there is a reason for lines of the key to be parked, or one that is met will let the others follow."""
    limits = shard.hashes.get(b"flow:" + flow, {})
    if limits.get(b"paused") == b"1":
        return True
    if len(shard.sets.get(b"hold:" + flow, ())) >= float(limits.get(b"concurrency", b"inf")):
        return True
    queue, lane, priority = home.rsplit(b":", 2)
    ticket = b"F\0" + flow + priority + lane
    others = (name for name in shard.zsets if name.startswith(b"lines:%b:" % home))
    return ticket in shard.zsets.get(b"due:" + queue, {}) or any(flow in shard.zsets[name] for name in others)


def turn_faults(shard: Any) -> Iterator[str]:
    """Who has a turn has lines; who is parked is found."""
    for key, groups in shard.zsets.items():
        if key.startswith(b"turn:"):
            for group in groups:
                if group and b"lines:%b:%b" % (key[5:], group) not in shard.zsets:
                    yield f"{key!r} has a turn for {group!r}, which has no line"
    parks = {b"park:%b:%b" % (name[6:], home) for name, homes in shard.sets.items() if name.startswith(b"parks:")
             for home in homes}  # fmt: skip
    for key in parks ^ {name for name in shard.zsets if name.startswith(b"park:")}:
        yield f"{key!r} is only in one of `parks` and park:"


def count_faults(shard: Any, records: dict[bytes, bytes], runs: dict[bytes, Any]) -> Iterator[str]:
    """Holders are those that run, and counts are what there is."""
    holding: dict[bytes, set[bytes]] = {}
    open_: Counter[bytes] = Counter()
    groups: Counter[tuple[bytes, bytes]] = Counter()
    for id_, record in records.items():
        ties = ties_of(record)
        if record[1:2] != b"W":
            continue
        open_[ties.flow] += 1
        queue = record[13 : 13 + record[12]].partition(b"\0")[0] or b"default"
        groups[queue, ties.group.encode()] += 1
        if id_ in runs and runs[id_].is_held:
            holding.setdefault(ties.flow, set()).add(id_)
    found = {name[5:]: ids for name, ids in shard.sets.items() if name.startswith(b"hold:")}
    for flow in {*holding, *found} - {b""}:
        if holding.get(flow) != found.get(flow):
            yield f"the key {flow.hex()} is held by {found.get(flow)}, and {holding.get(flow)} run"
    for name, fields in shard.hashes.items():
        if name.startswith(b"flow:") and int(fields.get(b"open", 0)) != open_.pop(name[5:], 0):
            yield f"{name!r} counts {fields.get(b'open')} open tasks"
    yield from (f"nothing is known of the key {flow.hex()}" for flow in open_ if flow)
    counted = {(name[7:], group): int(many) for name, fields in shard.hashes.items() if name.startswith(b"groups:")
               for group, many in fields.items()}  # fmt: skip
    if counted != {pair: many for pair, many in groups.items() if pair[1]}:
        yield f"groups are counted as {counted}, and are {dict(groups)}"
