"""
Reading long lists and sorted sets a chunk at a time, while others add to them and take from them.

The fact to know: a place in them is the last entry that was seen, never a number, since what stands before it may
leave at any time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from service.store.scripts import Scripts

CHUNK = 100
WIDTHS = (256, 2048, 16_384)
MOST_ID = b"\xff" * 16


class Walk:
    """Walks over lists and sorted sets of any shard."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts

    async def listed(self, key: str | bytes, seen: bytes, place: int = 0) -> AsyncIterator[tuple[bytes, int]]:
        """Entries of a list behind *seen*, which stood at *place*, in order, each with the place where it stood."""
        while True:
            entries, place = await self.entries_behind(key, seen, place)
            for number, entry in enumerate(entries):
                yield entry, place + number
            if not entries:
                return
            seen, place = entries[-1], place + len(entries) - 1

    async def entries_behind(self, key: str | bytes, seen: bytes, place: int) -> tuple[list[bytes], int]:
        """
        The next entries behind *seen*, which stood at *place* when last met, and where the first of them stands.

        Workers take from the head meanwhile. When *seen* has left the list, so has all that stood before it: then
        all that is left is behind it.
        """
        command = self.scripts.command
        found: int | None = place if seen else None
        while found is not None:
            entries = await command("LRANGE", key, found, found + CHUNK)
            if entries and entries[0] == seen:
                return entries[1:], found + 1
            found = await self.place_of(key, seen, found)
        return await command("LRANGE", key, 0, CHUNK - 1), 0

    async def place_of(self, key: str | bytes, entry: bytes, place: int) -> int | None:
        """
        Where *entry* stands now that stood at *place*, None for nowhere: looked for nearby in front of it, since that
        is where it has moved to, and only then in all of the list, which takes Redis milliseconds when it is long.
        """
        last = place
        for width in WIDTHS:
            first = max(0, last - width)
            entries = await self.scripts.command("LRANGE", key, first, last)
            if entry in entries:
                return first + int(entries.index(entry))
            last = first
            if not first:
                break
        found = await self.scripts.command("LPOS", key, entry)
        return None if found is None else int(found)

    async def scored(self, key: str, bound: tuple[int, bytes] | None, newest: bool) -> AsyncIterator[tuple[int, bytes]]:
        """(score, member) of a sorted set behind *bound*, by score and then member, upwards or (*newest*) downwards."""
        while pairs := await self.pairs_behind(key, bound, newest):
            for pair in pairs:
                yield pair
            bound = pairs[-1]

    async def pairs_behind(self, key: str, bound: tuple[int, bytes] | None, newest: bool) -> list[tuple[int, bytes]]:
        """The next of them; empty at the end."""
        anchor = bound
        while True:
            pairs = await self.pairs_from(key, anchor, newest)
            behind = [pair for pair in pairs if bound is None or (pair < bound if newest else pair > bound)]
            if behind or not pairs:
                return behind
            anchor = pairs[-1]

    async def pairs_from(self, key: str, anchor: tuple[int, bytes] | None, newest: bool) -> list[tuple[int, bytes]]:
        """
        What follows *anchor*, found by its rank, since others may leave the set meanwhile; where it has left
        itself, what has its score and follows.
        """
        command = self.scripts.command
        by_rank = "ZREVRANGE" if newest else "ZRANGE"
        if anchor is None:
            return scored_pairs(await command(by_rank, key, 0, CHUNK - 1, "WITHSCORES"))
        while (rank := await command("ZREVRANK" if newest else "ZRANK", key, anchor[1])) is not None:
            pairs = scored_pairs(await command(by_rank, key, rank, rank + CHUNK, "WITHSCORES"))
            if pairs and pairs[0] == anchor:
                return pairs[1:]
            if pairs and pairs[0][1] == anchor[1]:
                break  # it came back at another place
        by_score, end = ("ZREVRANGEBYSCORE", "-inf") if newest else ("ZRANGEBYSCORE", "+inf")
        return scored_pairs(await command(by_score, key, anchor[0], end, "WITHSCORES", "LIMIT", 0, CHUNK))


def expanded(runs: list[bytes], bound: bytes = MOST_ID) -> Iterator[bytes]:
    """The ids of runs, each run's last first, below *bound*. A run: its first id (16 bytes), how many follow (1)."""
    for run in runs:
        first = int.from_bytes(run[14:16], "big")
        for tail in range(first + run[16], first - 1, -1):
            id_ = run[:14] + tail.to_bytes(2, "big")
            if id_ < bound:
                yield id_


def newest_first(id_: bytes) -> int:
    return -int.from_bytes(id_, "big")


def scored_pairs(reply: Any) -> list[tuple[int, bytes]]:
    """A WITHSCORES reply as (score, member) pairs, whatever shape the library gives it."""
    if reply and isinstance(reply[0], (tuple, list)):
        return [(int(float(score)), member) for member, score in reply]
    return [(int(float(score)), member) for member, score in zip(reply[::2], reply[1::2], strict=True)]


async def merged(streams: list[AsyncIterator[Any]], key: Callable[[Any], Any]) -> AsyncIterator[Any]:
    """Sorted streams as one, by *key*."""
    if len(streams) == 1:
        async for value in streams[0]:
            yield value
        return
    heap: list[tuple[Any, int, Any]] = []
    for n, first in enumerate(await asyncio.gather(*(anext(stream, None) for stream in streams))):
        if first is not None:
            heapq.heappush(heap, (key(first), n, first))
    while heap:
        _, n, value = heapq.heappop(heap)
        yield value
        following = await anext(streams[n], None)
        if following is not None:
            heapq.heappush(heap, (key(following), n, following))
