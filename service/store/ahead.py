"""
How many tasks go before a ready one: estimated, for `explain`.

Nothing is scanned. What of its own list came in earlier is found by halving, what of another line by the times at its
two ends, and of many lines a hundred stand for the rest. The fact to know: what waits in a line that is parked (its
key is full, paused or ahead of its rate) goes before nobody.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from service.ids import created_ms, shard_of
from service.store import keys
from service.store.scripts import Scripts
from service.task import LANES, Snapshot, stored_queue

MOST_LINES = 100
HIGHEST = 9


async def ahead_of(scripts: Scripts, task: Snapshot) -> int:
    """
    How many ready tasks of its queue and lane go before a ready *task*: those of higher priorities, those of its group
    (or, without one, of those that have none) that came in earlier, and those of other groups that have a turn before.

    Raises:
        StoreUnavailable
    """
    view = View(scripts, task)
    names, part = await view.lines()
    *higher, own = await asyncio.gather(*(view.length(key) for key in view.lists()))
    total, before = sum(higher), await view.earlier_in_list(own)
    others: dict[str, int] = defaultdict(int)
    for name, length in zip(names, await view.open_lengths(names), strict=True):
        priority, group = int(name[1:2]), keys.group_of(name)
        if priority > view.priority:
            total += length
        elif name == view.own_line or not length:
            continue
        elif group == view.group:
            before += await view.earlier_in_line(name, length)
        else:
            others[group] += length
    if view.group:
        others[""] += await view.length(view.plain_list(view.priority))
    turns = await view.turns_of(others, before + 1)
    return total + before + int(turns / part)


class View:
    """What stands around one task."""

    def __init__(self, scripts: Scripts, task: Snapshot) -> None:
        record, ties = task.record, task.record.ties
        self.command, self.shard, self.id = scripts.command, shard_of(task.id), task.id
        self.stored = stored_queue(record.namespace, record.queue)
        self.lane, self.priority, self.group = LANES[record.lane].decode(), record.priority, ties.group
        is_tied = ties.flow or ties.group
        self.own_line = keys.line_name(self.lane, record.priority, ties.flow, ties.group) if is_tied else b""
        self.entered_ms = max(created_ms(task.id), record.time_ms)

    def plain_list(self, priority: int) -> str:
        return keys.ready(self.shard, self.stored, self.lane, priority)

    def lists(self) -> list[str | bytes]:
        """The lists of tasks without ties, the highest priority first; the last one is where the task itself waits."""
        lists: list[str | bytes] = [self.plain_list(priority) for priority in range(HIGHEST, self.priority, -1)]
        if self.own_line:
            return [*lists, keys.line(self.shard, self.stored, self.own_line)]
        return [*lists, self.plain_list(self.priority)]

    async def length(self, key: str | bytes) -> int:
        return int(await self.command("LLEN", key))

    async def lines(self) -> tuple[list[bytes], float]:
        """Names of lines of its priority and higher ones, up to a hundred, and which part of them these are."""
        lined, lane = keys.lined(self.shard, self.stored), self.lane.encode()
        bounds = (b"[%b%d" % (lane, self.priority), b"(%b:" % lane)  # a colon comes behind 9
        names = await self.command("ZRANGEBYLEX", lined, *bounds, "LIMIT", 0, MOST_LINES)
        if len(names) < MOST_LINES:
            return names, 1.0
        return names, len(names) / max(int(await self.command("ZLEXCOUNT", lined, *bounds)), len(names))

    async def open_lengths(self, names: list[bytes]) -> list[int]:
        """How many tasks wait in each line; none that goes before anybody where it is parked."""

        async def look(name: bytes) -> int:
            length, is_open = await asyncio.gather(
                self.length(keys.line(self.shard, self.stored, name)),
                self.command("ZSCORE", keys.open_lines(self.shard, self.stored, name), keys.flow_of(name)),
            )
            return 0 if is_open is None else length

        return await asyncio.gather(*map(look, names))

    async def earlier_in_list(self, length: int) -> int:
        """How many entries of its own list came in before it, by halving."""
        least, most, key = 0, length, self.lists()[-1]
        while least < most:
            middle = (least + most) // 2
            entry = await self.command("LINDEX", key, middle)
            if entry is None or entry[2:] == self.id or created_ms(entry[2:]) >= self.entered_ms:
                most = middle
            else:
                least = middle + 1
        return least

    async def earlier_in_line(self, name: bytes, length: int) -> int:
        """How many entries of another line came in before it, if they came evenly."""
        key = keys.line(self.shard, self.stored, name)
        ends = await asyncio.gather(*(self.command("LINDEX", key, place) for place in (0, -1)))
        if None in ends:
            return 0
        first_ms, last_ms = (created_ms(entry[2:]) for entry in ends)
        if self.entered_ms <= first_ms:
            return 0
        return min(length, int(length * (self.entered_ms - first_ms) / max(last_ms - first_ms, 1)))

    async def turns_of(self, others: dict[str, int], own: int) -> float:
        """How many tasks of *others* (group -> tasks that wait) start while *own* of its group do, by weight."""
        groups = [self.group, *(group for group, waiting in others.items() if waiting)]
        if len(groups) == 1:
            return 0
        fields = [f"{self.stored}:{group}" for group in groups]
        found: list[Any] = await self.command("HMGET", keys.weights(self.shard), *fields)
        mine, *weights = (float(value or 1) for value in found)
        pairs = zip(groups[1:], weights, strict=True)
        return sum(min(others[group], own * weight / mine) for group, weight in pairs)
