"""
Lists of tasks, a page at a time, in the natural order of what was asked for.

    queued                            position: queue, priority, lane, place in its list
    scheduled                         due time, earliest first
    running, cancelling               newest first
    succeeded, cancelled, expired     newest end first; failed likewise
    no state                          newest first, from the order of creation

A walk finds candidates by a *source* (an async iterator of ids, each with the place behind it) and looks at them.
A page looks at no more than 1,000 tasks; a cursor is such a place. Tasks that move during a walk may be seen
twice or not at all; a task that stays is seen once.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import heapq
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from service.errors import InvalidQuery
from service.store import keys
from service.store.queues import Queues
from service.store.tasks import Tasks
from service.task import LANES, Snapshot, decode_id, encode_id, split_queue, stored_queue

MOST_EXAMINED = 1000
MOST_BYTES = 4 << 20
CHUNK = 100
MOST_ID = b"\xff" * 16
SPREAD_MS = 3000
LETTERS = [letter.decode() for letter in LANES.values()]

Place = list[Any]
Candidates = AsyncIterator[tuple[bytes, Place]]


@dataclass(slots=True)
class Query:
    """What is asked for; None asks for all."""

    namespace: str
    state: str | None = None
    queue: str | None = None
    name: str | None = None
    tag: str | None = None

    def takes(self, task: Snapshot) -> bool:
        """Whether a task belongs to the answer, as it is now."""
        record = task.record
        return (
            record.namespace == self.namespace
            and (self.state is None or task.state == self.state)
            and (self.queue is None or record.queue == self.queue)
            and (self.name is None or record.submission.get("name") == self.name)
            and (self.tag is None or self.tag in record.submission.get("tags", ()))
        )


def pack_cursor(query: Query, place: Place) -> str:
    """An opaque cursor; it says for which state it was made."""
    return base64.urlsafe_b64encode(orjson.dumps([query.state, *place])).decode().rstrip("=")


def unpack_cursor(query: Query, cursor: str) -> Place:
    """Raises InvalidQuery for a cursor that was not made by `pack_cursor` for such a query."""
    try:
        state, *place = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if state != query.state or not place:
            raise ValueError(cursor)
    except (binascii.Error, ValueError, TypeError) as exc:
        raise InvalidQuery(
            "The cursor does not belong to this list.",
            errors=[
                {
                    "parameter": "cursor",
                    "detail": "use next_cursor of a page that was asked for in the same way",
                }
            ],
        ) from exc
    return place


class Pages:
    """Reads lists of tasks over all shards."""

    def __init__(self, tasks: Tasks, queues: Queues) -> None:
        self.tasks, self.queues = tasks, queues

    async def page(self, query: Query, limit: int, cursor: str | None) -> tuple[list[Snapshot], str | None]:
        """
        Up to *limit* tasks, and the cursor of the next page (None at the end).

        Raises:
            InvalidQuery: *cursor* is not of this list.
        """
        place = unpack_cursor(query, cursor) if cursor else None
        try:
            source = self.source(query, place)
            return await self.collect(query, source, limit)
        except (ValueError, TypeError, IndexError) as exc:
            if cursor is None:
                raise
            raise InvalidQuery(
                "The cursor is damaged.", errors=[{"parameter": "cursor", "detail": "use it as given"}]
            ) from exc

    def source(self, query: Query, place: Place | None) -> Candidates:
        if query.state is None:
            return self.created(place)
        if query.state == "queued":
            return self.queued(query, place)
        if query.state == "scheduled":
            return self.scheduled(query, place)
        if query.state in ("running", "cancelling"):
            return self.running(place)
        return self.ended(query.state == "failed", place)

    async def collect(
        self, query: Query, source: Candidates, limit: int
    ) -> tuple[list[Snapshot], str | None]:
        """Look at candidates until the page is full, or enough was looked at."""
        found: list[Snapshot] = []
        examined, size, more = 0, 0, True
        while more:
            chunk: list[tuple[bytes, Place]] = []
            # Rarely more than needed: a page of 50 without filters reads 50 tasks.
            while len(chunk) < min(CHUNK, max(limit - len(found), 1)) and more:
                candidate = await anext(source, None)
                more = candidate is not None
                if candidate is not None:
                    chunk.append(candidate)
            for (_, place), task in zip(chunk, await self.tasks.read([id_ for id_, _ in chunk]), strict=True):
                examined += 1
                if task is not None and query.takes(task):
                    found.append(task)
                    size += task.size
                if len(found) >= limit or size >= MOST_BYTES or examined >= MOST_EXAMINED:
                    return found, pack_cursor(query, place)
        return found, None

    # ------------------------------------------------------------ sources

    async def created(self, place: Place | None) -> Candidates:
        """All tasks, newest first: the order of creation, merged over the shards."""
        bound = decode_id(place[0]) if place else MOST_ID
        streams = [self.created_in(shard, bound) for shard in range(self.tasks.shards)]
        async for id_ in merged(streams, newest_first):
            yield id_, [encode_id(id_)]

    async def created_in(self, shard: int, bound: bytes) -> AsyncIterator[bytes]:
        """
        Ids of *shard* below *bound*, newest first.

        Buckets follow each other in time but overlap by the spread of the submitters' clocks: what a bucket holds is
        given out only when the next older one has been seen.
        """
        pool: list[bytes] = []
        below: Any = "+inf" if bound == MOST_ID else int.from_bytes(bound[:6], "big") + SPREAD_MS
        skip = 0
        while buckets := await self.tasks.scripts.command(
            "ZREVRANGEBYSCORE", keys.made(shard), below, "-inf", "LIMIT", skip, 2
        ):
            skip += len(buckets)
            for bucket in buckets:
                runs = await self.tasks.scripts.command("LRANGE", keys.made_bucket(shard, bucket), 0, -1)
                ids = [id_ for id_ in expanded(runs) if id_ < bound]
                newest = max(ids, default=MOST_ID)
                for id_ in sorted((id_ for id_ in pool if id_ > newest), reverse=True):
                    yield id_
                pool = [id_ for id_ in pool if id_ <= newest] + ids
        for id_ in sorted(pool, reverse=True):
            yield id_

    async def running(self, place: Place | None) -> Candidates:
        """All leased tasks, newest first. As many as there are slots, so that all ids are read at once."""
        bound = decode_id(place[0]) if place else MOST_ID
        held: list[bytes] = []
        for shard in range(self.tasks.shards):
            held += await self.tasks.scripts.command("ZRANGE", keys.lease(shard), 0, -1)
        for id_ in sorted((id_ for id_ in held if id_ < bound), reverse=True):
            yield id_, [encode_id(id_)]

    async def ended(self, failed: bool, place: Place | None) -> Candidates:
        """Ended tasks, newest end first."""
        bound = (int(place[0]), decode_id(place[1])) if place else None
        streams = [self.scored(keys.ended(shard, failed), bound, True) for shard in range(self.tasks.shards)]
        async for score, id_ in merged(streams, lambda pair: (-pair[0], newest_first(pair[1]))):
            yield id_, [score, encode_id(id_)]

    async def scheduled(self, query: Query, place: Place | None) -> Candidates:
        """Delayed and retrying tasks by due time."""
        bound = (int(place[0]), place[1].encode("latin-1")) if place else None
        streams = [
            self.scored(keys.due(shard, stored), bound, False)
            for stored in await self.stored_queues(query)
            for shard in range(self.tasks.shards)
        ]
        async for score, entry in merged(streams, lambda pair: pair):
            yield entry[2:18], [score, entry.decode("latin-1")]

    async def queued(self, query: Query, place: Place | None) -> Candidates:
        """Ready tasks as workers will take them: list after list."""
        lists = [
            (stored, priority, shard, letter)
            for stored in await self.stored_queues(query)
            for priority in range(9, -1, -1)
            for shard in range(self.tasks.shards)
            for letter in LETTERS
        ]
        seen = b""
        if place:
            at = (place[0], int(place[1]), int(place[2]), place[3])
            seen = place[4].encode("latin-1")
            order = {letter: n for n, letter in enumerate(LETTERS)}
            lists = [
                one
                for one in lists
                if (one[0], -one[1], one[2], order[one[3]]) >= (at[0], -at[1], at[2], order[at[3]])
            ]
        for one in lists:
            stored, priority, shard, letter = one
            async for entry in self.listed(
                keys.ready(shard, stored, letter, priority), seen if place and one == at else b""
            ):
                yield entry[2:], [*one, entry.decode("latin-1")]

    # ------------------------------------------------------------ reading Redis

    async def stored_queues(self, query: Query) -> list[str]:
        if query.queue is not None:
            return [stored_queue(query.namespace, query.queue)]
        return sorted(name for name in await self.queues.names() if split_queue(name)[0] == query.namespace)

    async def listed(self, key: str, seen: bytes) -> AsyncIterator[bytes]:
        """
        Entries of a list behind *seen*, in order. When *seen* has left the list, so has all that stood before it:
        then all that is left is behind it.
        """
        start = 0
        if seen:
            found = await self.tasks.scripts.command("LPOS", key, seen)
            start = 0 if found is None else found + 1
        while entries := await self.tasks.scripts.command("LRANGE", key, start, start + CHUNK - 1):
            start += len(entries)
            for entry in entries:
                yield entry

    async def scored(
        self, key: str, bound: tuple[int, bytes] | None, newest: bool
    ) -> AsyncIterator[tuple[int, bytes]]:
        """(score, member) of a sorted set behind *bound*, by score and then member, upwards or (*newest*) downwards."""
        command, skip = ("ZREVRANGEBYSCORE" if newest else "ZRANGEBYSCORE"), 0
        first: Any = bound[0] if bound else ("+inf" if newest else "-inf")
        last = "-inf" if newest else "+inf"
        while True:
            reply = await self.tasks.scripts.command(
                command, key, first, last, "WITHSCORES", "LIMIT", skip, CHUNK
            )
            members = scored_pairs(reply)
            if not members:
                return
            skip += len(members)
            for pair in members:
                if bound is None or (pair < bound if newest else pair > bound):
                    yield pair


def expanded(runs: list[bytes]) -> list[bytes]:
    """All ids of runs: the first id (16 bytes), and how many follow it (1 byte)."""
    ids = []
    for run in runs:
        first = int.from_bytes(run[14:16], "big")
        ids += [run[:14] + (first + n).to_bytes(2, "big") for n in range(run[16] + 1)]
    return ids


def newest_first(id_: bytes) -> int:
    return -int.from_bytes(id_, "big")


def scored_pairs(reply: Any) -> list[tuple[int, bytes]]:
    """A WITHSCORES reply as (score, member) pairs, whatever shape the library gives it."""
    if reply and isinstance(reply[0], (tuple, list)):
        return [(int(float(score)), member) for member, score in reply]
    return [(int(float(score)), member) for member, score in zip(reply[::2], reply[1::2], strict=True)]


async def merged(streams: list[AsyncIterator[Any]], key: Callable[[Any], Any]) -> AsyncIterator[Any]:
    """Sorted streams as one, by *key*."""
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
